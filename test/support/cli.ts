import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { programEnv } from './program-env.ts';
import type { Development } from './tideway.ts';
import { watch } from './watchdog.ts';

/** A command of the project's command line, as its npm script runs it. */
export interface CliProcess {
  /** Standard output so far. */
  out(): string;
  /** Standard error so far. */
  err(): string;
  write(text: string): void;
  endInput(): void;
  /** Closes the reading end of its standard output, as `| head` does when it has enough. */
  stopReading(): void;
  kill(signal: NodeJS.Signals): void;
  /** Resolves with its exit code, or the signal that ended it, once all its output is here. */
  readonly exited: Promise<number | NodeJS.Signals>;
}

const ROOT = new URL('../../', import.meta.url);

/** What `npm start` leaves for the tools of the machine, in a folder of its own. */
export async function cliHome(development: Development, edgeUrl: string) {
  const dir = await mkdtemp(join(tmpdir(), 'tideway-cli-'));
  await writeFile(join(dir, 'dev.json'), JSON.stringify({ ...development, edge_url: edgeUrl }));
  return { dir, remove: () => rm(dir, { recursive: true, force: true }) };
}

export function startCli(
  command: 'publish' | 'listen' | 'admin',
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): CliProcess {
  const child = spawn(process.execPath, [`cli/${command}.ts`, ...args], {
    cwd: ROOT,
    env: { ...programEnv(), ...env },
    stdio: 'pipe',
  });
  watch(child);
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
  });
  // A command may end before it has read all that it is given.
  child.stdin.on('error', () => {});
  const exited = new Promise<number | NodeJS.Signals>((resolve) => {
    child.on('close', (code, signal) => resolve(signal ?? code ?? -1));
  });
  return {
    out: () => out,
    err: () => err,
    write: (text) => void child.stdin.write(text),
    endInput: () => void child.stdin.end(),
    stopReading: () => void child.stdout.destroy(),
    kill: (signal) => void child.kill(signal),
    exited,
  };
}

/** Runs a command to its end. */
export async function runCli(
  command: 'publish' | 'listen' | 'admin',
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  input = '',
): Promise<{ code: number | NodeJS.Signals; out: string; err: string }> {
  const cli = startCli(command, args, env);
  cli.write(input);
  cli.endInput();
  const code = await cli.exited;
  return { code, out: cli.out(), err: cli.err() };
}
