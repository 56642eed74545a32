// @ts-check

// One Ctrl-C arrives twice: from the terminal, and passed on by npm.
const SAME_KEY_PRESS_MS = 500;

/**
 * Waits for somebody to ask this process to end: by a signal (Ctrl-C is one), or by the end of the npm that started it,
 * which may be killed without passing that on.
 * @param {() => void} onImpatience Called for each signal after the first key press.
 * @returns {Promise<'stop'>}
 */
export function stopRequest(onImpatience) {
  return new Promise((resolve) => {
    let askedMs = 0;
    const ask = () => {
      if (askedMs === 0) askedMs = performance.now();
      else if (performance.now() - askedMs > SAME_KEY_PRESS_MS) onImpatience();
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
