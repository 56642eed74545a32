import { ingestKey } from '#lib/ingest/ingest-message.ts';
import { encodeOutcome, type Outcome, type OutcomeStamp } from '#lib/ingest/outcome.ts';
import { TOPICS } from '#lib/ingest/topics.ts';
import type { NewRecord } from '#lib/log/log.ts';

const EVENT_ID = /^[0-9a-f]{32}$/;

export function outcomeRecord(outcome: Outcome, stamp: OutcomeStamp): NewRecord {
  const { eventId, organizationId = 0n } = outcome;
  const isBilled = outcome.outcome === 'rate_limited' || outcome.outcome === 'accepted';
  return {
    topic: isBilled ? TOPICS.billing : TOPICS.outcomes,
    key: eventId !== undefined && EVENT_ID.test(eventId) ? ingestKey(eventId, organizationId) : spread(),
    value: encodeOutcome({ ...outcome, stamp }),
  };
}

/** Nothing depends on the order of outcomes but of one writer's in one partition. */
function spread(): Uint8Array {
  spreadOver = (spreadOver + 1) >>> 0;
  return Buffer.from(`${spreadOver}`);
}

let spreadOver = 0;
