import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 5;

/**
 * Waits until `condition` holds. An error of the condition's own counts as "not yet".
 * @param timeoutMs For what never comes, not for what is slow: the machine may be busy.
 */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 20_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  let problem: unknown;
  for (;;) {
    try {
      if (await condition()) return;
    } catch (error) {
      problem = error;
    }
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`, { cause: problem });
    await delay(POLL_MS);
  }
}
