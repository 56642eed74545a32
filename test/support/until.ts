import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 5;
/** What does not come at once comes after seconds as a rule, and asking often would take the time that it needs. */
const MAX_POLL_MS = 25;

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
  let pollMs = POLL_MS;
  let problem: unknown;
  for (;;) {
    try {
      if (await condition()) return;
    } catch (error) {
      problem = error;
    }
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`, { cause: problem });
    await delay(pollMs);
    pollMs = Math.min(pollMs * 1.1, MAX_POLL_MS);
  }
}
