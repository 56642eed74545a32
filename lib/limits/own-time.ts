const TICK_MS = 50;

/** No answer in time. */
export class TooLateError extends Error {
  override readonly name = 'TooLateError';
}

/**
 * Waits for `ms` of time in which this process could have seen the answer: one that gets no CPU must not take that for the
 * other's silence. Each tick of the clock needs a turn of the event loop, in which what has arrived is read first.
 * @throws TooLateError
 */
export function withinOwnTime<T>(answer: Promise<T>, ms: number): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    let leftMs = ms;
    let timer: NodeJS.Timeout | undefined;
    const wait = () => {
      const tickMs = Math.min(leftMs, TICK_MS);
      leftMs -= tickMs;
      timer = setTimeout(() => {
        if (leftMs > 0) wait();
        else setImmediate(() => reject(new TooLateError(`no answer within ${ms} ms`)));
      }, tickMs);
    };
    wait();
    answer.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}
