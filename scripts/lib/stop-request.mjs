// @ts-check

/**
 * Waits for somebody to ask this process to end: by a signal (Ctrl-C is one), or by the end of the npm that started it,
 * which may be killed without passing that on.
 * @param {() => void} onImpatience Called for each signal after the first.
 * @returns {Promise<'stop'>}
 */
export function stopRequest(onImpatience) {
  return new Promise((resolve) => {
    let asked = false;
    const ask = () => {
      if (asked) onImpatience();
      asked = true;
      resolve('stop');
    };
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, ask);
    if (process.env['npm_lifecycle_event'] === undefined) return;
    const parent = process.ppid;
    const watch = setInterval(() => {
      if (process.ppid === parent) return;
      clearInterval(watch);
      ask();
    }, PARENT_CHECK_MS);
    watch.unref();
  });
}

const PARENT_CHECK_MS = 500;
