import { type ChildProcess, spawn } from 'node:child_process';

// Its standard input closes however this process ends, and it waits for nothing else.
const WATCHDOG = 'cat >/dev/null; kill -9 "$0"; [ -z "$1" ] || rm -rf "$1"';

/**
 * Ends a process that a test started, and removes its folder, when this process ends in whatever way: a test run that is
 * killed leaves nothing behind.
 * @param folder Removed then.
 */
export function watch(child: ChildProcess, folder = ''): void {
  // In a group of its own, so that a Ctrl-C reaches the child only by way of this process.
  const watchdog = spawn('/bin/sh', ['-c', WATCHDOG, `${child.pid}`, folder], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  watchdog.unref();
  child.once('exit', () => {
    watchdog.kill('SIGKILL');
    watchdog.stdin.destroy();
  });
}
