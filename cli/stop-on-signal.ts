import type { EventEmitter } from 'node:events';

// One Ctrl-C arrives twice: from the terminal, and passed on by npm.
const SAME_KEY_PRESS_MS = 500;

/**
 * Aborts at the first SIGINT or SIGTERM that `process` emits, so that what was begun can be brought to its end; a later
 * one, which is somebody who does not want to wait for that, calls `quit`.
 */
export function stopOnSignal(
  process: Pick<EventEmitter, 'on'>,
  quit: () => void,
  now: () => number = () => performance.now(),
): AbortSignal {
  const stop = new AbortController();
  let firstMs = 0;
  const onSignal = () => {
    if (!stop.signal.aborted) {
      firstMs = now();
      stop.abort();
    } else if (now() - firstMs > SAME_KEY_PRESS_MS) {
      quit();
    }
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return stop.signal;
}
