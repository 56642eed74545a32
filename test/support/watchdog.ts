import { spawn } from 'node:child_process';

// Its standard input closes however this process ends, and it waits for nothing else.
const WATCHDOG = 'cat >/dev/null; kill -s CONT "$0"; kill -s "$1" "$0"; [ -z "$2" ] || rm -rf "$2"';

interface Watched {
  readonly pid?: number | undefined;
  once(event: 'exit', listener: () => void): unknown;
}

/**
 * Ends a process that a test started, and removes its folder, when this process ends in whatever way: a test run that is
 * killed leaves nothing behind.
 * @param folder Removed then; several processes may have one together.
 * @param signal QUIT for what has processes of its own to end.
 */
export function watch(child: Watched, folder = '', signal: 'KILL' | 'QUIT' = 'KILL'): void {
  // In a group of its own, so that a Ctrl-C reaches the child only by way of this process.
  const watchdog = spawn('/bin/sh', ['-c', WATCHDOG, `${child.pid}`, signal, folder], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  watchdog.unref();
  child.once('exit', () => {
    watchdog.kill('SIGKILL');
    watchdog.stdin.destroy();
  });
}
