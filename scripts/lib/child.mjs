// @ts-check
import { spawn } from 'node:child_process';

/**
 * A program that lives no longer than this process. It has its own process group, so that Ctrl-C reaches this process
 * alone, which ends its children in the right order; and a leash: a shell that waits for the end of a pipe of ours and
 * then kills it and removes its folder, for the case that this process is killed and can do nothing any more.
 *
 * @typedef {object} Child
 * @property {string} name
 * @property {Promise<{ code: number | null, how: string }>} ended Resolves when it has ended.
 * @property {(graceMs: number) => Promise<void>} stop SIGTERM, and SIGKILL after `graceMs`.
 * @property {() => void} kill
 */

/**
 * @param {string} name
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd: string, env: NodeJS.ProcessEnv, folder?: string, onOutput?: (chunk: Buffer) => void }} options
 *   `folder`: the leash removes it. `onOutput`: gets what it prints, in place of the terminal.
 * @returns {Child}
 */
export function startChild(name, command, args, { cwd, env, folder, onOutput }) {
  const print = onOutput === undefined ? 'inherit' : 'pipe';
  const child = spawn(command, args, { cwd, env, detached: true, stdio: ['ignore', print, print] });
  if (onOutput !== undefined) {
    child.stdout?.on('data', onOutput);
    child.stderr?.on('data', onOutput);
  }
  let running = true;
  /** @type {Child['ended']} */
  const ended = new Promise((resolve) => {
    child.once('error', (error) => resolve({ code: null, how: `could not be started (${error.message})` }));
    child.once('exit', (code, signal) =>
      resolve({ code, how: signal ? `was ended by ${signal}` : `ended with exit code ${code}` }),
    );
  });
  const leash = child.pid === undefined ? undefined : startLeash(child.pid, folder ?? '');
  void ended.then(() => {
    running = false;
    leash?.kill('SIGKILL');
  });

  return {
    name,
    ended,
    kill: () => void child.kill('SIGKILL'),
    async stop(graceMs) {
      if (!running) return;
      child.kill('SIGTERM');
      const deadline = setTimeout(() => child.kill('SIGKILL'), graceMs);
      await ended;
      clearTimeout(deadline);
    },
  };
}

/**
 * @param {number} pid
 * @param {string} folder
 */
function startLeash(pid, folder) {
  const command = 'read -r _; kill -KILL "$0"; [ -z "$1" ] || rm -rf "$1"';
  const leash = spawn('/bin/sh', ['-c', command, String(pid), folder], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  leash.unref();
  return leash;
}
