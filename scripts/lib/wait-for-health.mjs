// @ts-check

const ASK_AGAIN_MS = 50;
const ANSWER_DEADLINE_MS = 2_000;

/**
 * Asks a URL until it answers 200.
 * @param {string} url
 * @param {AbortSignal} signal Ends the asking.
 * @returns {Promise<'ready' | 'too late'>}
 */
export async function waitForHealth(url, signal) {
  while (!signal.aborted) {
    if (await answers(url)) return 'ready';
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
  }
  return 'too late';
}

/** @param {string} url */
async function answers(url) {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(ANSWER_DEADLINE_MS) });
    await response.body?.cancel();
    return response.status === 200;
  } catch {
    // Nobody listens yet.
    return false;
  }
}
