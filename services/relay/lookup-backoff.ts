/** After one failure at once, after the next in a second, then 1.5 times as long each, up to a minute. */
export function backoffMs(failures: number): number {
  return failures <= 1 ? 0 : Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * GROWTH ** (failures - 2));
}

/**
 * When requests may be sent that run beside each other. Those that were under way when one of them failed say nothing
 * new by failing too.
 */
export class Backoff {
  #failures = 0;
  #round = 0;
  #retryAtMs = Number.NEGATIVE_INFINITY;

  get isFailing(): boolean {
    return this.#failures > 0;
  }

  get retryAtMs(): number {
    return this.#retryAtMs;
  }

  /** Of a request that begins: what {@link fail} is told if it does. */
  get round(): number {
    return this.#round;
  }

  /** False: it was known. */
  fail(round: number, nowMs: number): boolean {
    if (round !== this.#round) return false;
    this.#round += 1;
    this.#failures += 1;
    this.#retryAtMs = nowMs + backoffMs(this.#failures);
    return true;
  }

  succeed(): void {
    this.#failures = 0;
    this.#retryAtMs = Number.NEGATIVE_INFINITY;
  }
}

const FIRST_BACKOFF_MS = 1_000;
const MAX_BACKOFF_MS = 60_000;
const GROWTH = 1.5;
