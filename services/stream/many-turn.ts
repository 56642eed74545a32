/** Something with writes that wait for the end of a turn of the event loop. */
export interface Due {
  flush(): void;
}

let due: Due[] = [];

/**
 * Flushes it once this turn's work is done: feeds deliver what they have one after the other, and a listener of several
 * is to have it in one write. One callback a turn, whatever the number of listeners.
 */
export function atTurnsEnd(listener: Due): void {
  if (due.push(listener) === 1) process.nextTick(flushAll);
}

function flushAll(): void {
  const flushed = due;
  due = [];
  for (const listener of flushed) listener.flush();
}
