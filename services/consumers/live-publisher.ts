import type { LiveSummary } from './live-summary.ts';

/** Tells followers of accepted events, as far as that goes: saving never waits for it. */
export interface LivePublisher {
  /** Returns at once and never throws. What there is no room for is dropped, counted, and told of. */
  publish(summaries: readonly LiveSummary[]): void;

  /** Publishes what waits, for up to so long. Idempotent; never throws. */
  close(timeoutMs: number): Promise<void>;
}

/** Summaries that may wait, of about half a kilobyte each. */
export const MAX_WAITING_SUMMARIES = 10_000;
