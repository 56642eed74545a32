import type { Outcome } from '#lib/ingest/outcome.ts';
import type { LogWriter } from './log-writer.ts';

export interface OutcomeWriterOptions {
  readonly writer: LogWriter;
  readonly onLost: (outcomes: number) => void;
}

const FLUSH_AFTER_MS = 100;
const FLUSH_AT_ONCE = 500;
/** More are counted together, without their event ids. */
const MAX_SINGLE = 10_000;
/** Of what is counted together. */
const MAX_SUMS = 10_000;
const HOUR_MS = 3_600_000;

/**
 * Takes outcomes of what was refused at once, and writes them behind the answers, many together. Bounded: where more are
 * refused than the log takes, those that are alike become one with the sum, so that counts stay exact.
 */
export class OutcomeWriter {
  readonly #options: OutcomeWriterOptions;
  #single: Outcome[] = [];
  #sums = new Map<string, Outcome>();
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> | undefined;

  constructor(options: OutcomeWriterOptions) {
    this.#options = options;
  }

  get isFull(): boolean {
    return this.#sums.size >= MAX_SUMS;
  }

  add(outcomes: readonly Outcome[]): void {
    for (const outcome of outcomes) {
      if (this.#single.length < MAX_SINGLE) this.#single.push(outcome);
      else this.#sum(outcome);
    }
    if (this.#single.length >= FLUSH_AT_ONCE) this.#begin();
    else this.#timer ??= setTimeout(() => this.#begin(), FLUSH_AFTER_MS);
  }

  /** Resolves when what was added is in the log, or lost. */
  async flush(): Promise<void> {
    while (this.#flushing !== undefined || this.#single.length > 0) {
      this.#begin();
      await this.#flushing;
    }
  }

  #begin(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#single.length === 0) return;
    this.#flushing ??= this.#writeAll().finally(() => {
      this.#flushing = undefined;
      if (this.#single.length > 0) this.#begin();
    });
  }

  async #writeAll(): Promise<void> {
    const outcomes = [...this.#single, ...this.#sums.values()];
    this.#single = [];
    this.#sums = new Map();
    const written = await this.#options.writer.write(outcomes.map((outcome) => ({ records: [], outcomes: [outcome] })));
    const lost = written.filter((each) => each !== 'logged').length;
    if (lost > 0) this.#options.onLost(lost);
  }

  #sum(outcome: Outcome): void {
    const { organizationId, projectId, keyId, reason, category, timestampMs } = outcome;
    const hour = Math.floor(timestampMs / HOUR_MS);
    const name = `${organizationId} ${projectId} ${keyId} ${outcome.outcome} ${category} ${hour} ${reason}`;
    const quantity = outcome.quantity + (this.#sums.get(name)?.quantity ?? 0);
    this.#sums.set(name, { ...outcome, eventId: undefined, quantity });
  }
}
