import { sql } from 'kysely';
import { BoundedWork } from '#lib/sql/bounded-work.ts';
import { withDeadline } from '#lib/sql/deadline.ts';
import { applyEffects } from './apply-effects.ts';
import type { EventDatabase } from './database.ts';
import { deleteExpired } from './delete-expired.ts';
import { type EventStore, SEARCH_DEADLINE_MS } from './event-store.ts';
import { listEvents } from './list-events.ts';
import { readPosition, takePositionBack } from './positions.ts';
import { getEvent, readAttachment } from './read-events.ts';
import { readOutcomes, readTotals } from './read-outcomes.ts';

/** A search may take its time, and then its events' attachments are read. */
const READ_DEADLINE_MS = SEARCH_DEADLINE_MS + 3_000;
const WRITE_DEADLINE_MS = 15_000;
const MAX_READS = 1_000;
/** One a partition that is consumed here. */
const MAX_WRITES = 100;

export interface EventStoreOptions {
  readonly searchDeadlineMs?: number | undefined;
}

/** The event store on an open database, which it closes with itself. */
export function createEventStore(
  database: EventDatabase,
  { searchDeadlineMs = SEARCH_DEADLINE_MS }: EventStoreOptions = {},
): EventStore {
  const { reader, kind } = database;
  const reads = new BoundedWork({ name: 'reads', max: MAX_READS, timeoutMs: READ_DEADLINE_MS });
  const writes = new BoundedWork({ name: 'batches', max: MAX_WRITES, timeoutMs: WRITE_DEADLINE_MS });
  let closed: Promise<void> | undefined;
  return {
    kind,
    apply: (batch) => writes.run(() => applyEffects(database, batch)),
    get: (projectId, eventId) => reads.run(() => getEvent(reader, projectId, eventId)),
    list: (query) => reads.run(() => listEvents(database, query, searchDeadlineMs)),
    readAttachment: async (projectId, eventId, attachmentId) => {
      const attachment = await reads.run(() => readAttachment(reader, projectId, eventId, attachmentId));
      return attachment && chunksOf((index) => reads.run(() => attachment.chunk(index)));
    },
    outcomes: (query) => reads.run(() => readOutcomes(reader, query)),
    totals: (organizationId) => reads.run(() => readTotals(reader, organizationId)),
    position: (group, topicId, partition) => reads.run(() => readPosition(reader, { group, topicId, partition })),
    takeBack: (lost) => writes.run(() => takePositionBack(database, lost)),
    deleteExpired: (nowMs) => writes.run(() => deleteExpired(database, nowMs)),
    ping: async (timeoutMs) => {
      await withDeadline(
        reads.run(() => sql`select 1`.execute(reader)),
        timeoutMs,
      );
    },
    close: () => {
      closed ??= Promise.all([reads.close(), writes.close()]).then(() => database.close());
      return closed;
    },
  };
}

/** One at a time, and none before it is asked for: who reads slowly holds one in memory. */
async function* chunksOf(
  read: (index: number) => Promise<Uint8Array | undefined>,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (let index = 0; ; index++) {
    const chunk = await read(index);
    if (chunk === undefined) return;
    yield chunk;
  }
}
