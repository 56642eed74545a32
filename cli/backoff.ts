/**
 * How long to wait before the next attempt: doubling from a quarter of a second to five seconds, with jitter so that
 * many clients cut by one restart don't come back in one instant, and never sooner than the server asked for. Bounded
 * by the time since the last success, so that a command ends with an answer instead of trying for ever.
 */
export class Backoff {
  readonly #budgetMs: number;
  readonly #now: () => number;
  readonly #random: () => number;
  #attempts = 0;
  #firstFailureMs = 0;

  constructor(budgetMs: number, now: () => number = () => performance.now(), random: () => number = Math.random) {
    this.#budgetMs = budgetMs;
    this.#now = now;
    this.#random = random;
  }

  /** The next wait in ms; undefined once the attempts since the last success have lasted longer than the budget. */
  next(serverAsksMs = 0): number | undefined {
    if (this.#attempts === 0) this.#firstFailureMs = this.#now();
    const leftMs = this.#budgetMs - (this.#now() - this.#firstFailureMs);
    if (leftMs <= 0) return undefined;
    const ceilingMs = Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#attempts);
    this.#attempts++;
    const jitteredMs = ceilingMs * (0.5 + this.#random() / 2);
    // A server that asks for longer than the budget gets one last attempt at its end.
    return Math.min(leftMs, Math.max(jitteredMs, serverAsksMs));
  }

  /** Something went through: start over. */
  succeeded(): void {
    this.#attempts = 0;
  }

  /** True between a failure and the next success. */
  get failing(): boolean {
    return this.#attempts > 0;
  }
}

const FIRST_WAIT_MS = 250;
const MAX_WAIT_MS = 5_000;
