import type { Outcome, OutcomeName } from '#lib/ingest/outcome.ts';

/** What a pipeline has done since it began, and holds now; for telemetry, health and audits. */
export interface PipelineCounters {
  /** That were answered as taken, limited or refused: each event of them is logged, has an outcome, or is lost. */
  receivedEnvelopes: number;
  /** Items of these that become events; a report of several counts as one. */
  receivedEvents: number;
  /** That were answered with "later": nothing of them was kept. */
  overloadedEnvelopes: number;
  /** Taken, and neither logged nor refused yet. */
  queuedEnvelopes: number;
  queuedBytes: number;
  loggedEvents: number;
  /** Taken, and given up when the pipeline was closed. */
  lostEnvelopes: number;
  lostOutcomes: number;
  /** Quantities are not summed: how often each was said. */
  readonly outcomes: Record<Exclude<OutcomeName, 'accepted'>, number>;
}

export function newCounters(): PipelineCounters {
  return {
    receivedEnvelopes: 0,
    receivedEvents: 0,
    overloadedEnvelopes: 0,
    queuedEnvelopes: 0,
    queuedBytes: 0,
    loggedEvents: 0,
    lostEnvelopes: 0,
    lostOutcomes: 0,
    outcomes: { filtered: 0, rate_limited: 0, invalid: 0, abuse: 0, client_discard: 0, cardinality_limited: 0 },
  };
}

export function countOutcomes(counters: PipelineCounters, outcomes: readonly Outcome[]): void {
  for (const { outcome } of outcomes) if (outcome !== 'accepted') counters.outcomes[outcome] += 1;
}
