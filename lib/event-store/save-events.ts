import type { Transaction } from 'kysely';
import { MultiRowInsert } from '#lib/sql/multi-row-insert.ts';
import type { EncodedBody } from './body-codec.ts';
import { expiresDayOf } from './days.ts';
import { eventIdOf, eventKey } from './event-id.ts';
import type { NewEvent } from './event-store.ts';
import type { EventIdTable, EventSchema, EventTable } from './schema.ts';
import { storableText } from './storable-text.ts';

const ID_COLUMNS = ['project_id', 'event_id', 'received_ms', 'expires_day'] as const satisfies (keyof EventIdTable)[];
const insertIds = new MultiRowInsert<EventSchema, keyof EventIdTable>(ID_COLUMNS, (db, rows) =>
  db
    .insertInto('event_ids')
    .values(rows)
    .onConflict((conflict) => conflict.doNothing())
    .returning(['project_id', 'event_id']),
);

const EVENT_COLUMNS = [
  'project_id',
  'received_ms',
  'event_id',
  'organization_id',
  'expires_day',
  'key_id',
  'time_ms',
  'category',
  'level',
  'title',
  'culprit',
  'platform',
  'release',
  'environment',
  'transaction_name',
  'user_label',
  'sdk',
  'search_text',
  'body_encoding',
  'body',
] as const satisfies (keyof EventTable)[];
const insertEvents = new MultiRowInsert<EventSchema, keyof EventTable>(EVENT_COLUMNS, (db, rows) =>
  db.insertInto('events').values(rows),
);

/** An event, and what was made of it before the transaction. */
export interface EncodedEvent {
  readonly event: NewEvent;
  readonly idBytes: Uint8Array;
  readonly body: EncodedBody;
}

/** Takes the ids of those that are new, of a batch too the first. Others have the rest: they are duplicates. */
export async function takeNewEvents(
  tx: Transaction<EventSchema>,
  events: readonly EncodedEvent[],
): Promise<{ fresh: EncodedEvent[]; duplicates: EncodedEvent[] }> {
  const candidates = new Map<string, EncodedEvent>();
  const duplicates: EncodedEvent[] = [];
  for (const each of events) {
    const key = eventKey(each.event.projectId, each.event.eventId);
    if (candidates.has(key)) duplicates.push(each);
    else candidates.set(key, each);
  }
  // In one order for all, so that no two transactions wait for each other's ids.
  const sorted = [...candidates.entries()].sort(([a], [b]) => (a < b ? -1 : 1));
  const rows = sorted.map(([, { event, idBytes }]) => [
    event.projectId,
    idBytes,
    BigInt(event.receivedMs),
    BigInt(expiresDayOf(event)),
  ]);
  const taken = await insertIds.run<Pick<EventIdTable, 'project_id' | 'event_id'>>(tx, rows);
  if (taken.length < rows.length) {
    const mine = new Set(taken.map(({ project_id, event_id }) => eventKey(project_id, eventIdOf(event_id))));
    for (const [key, each] of sorted) {
      if (mine.has(key)) continue;
      candidates.delete(key);
      duplicates.push(each);
    }
  }
  return { fresh: [...candidates.values()], duplicates };
}

export async function saveEvents(tx: Transaction<EventSchema>, events: readonly EncodedEvent[]): Promise<void> {
  await insertEvents.run(tx, events.map(eventRow));
}

function eventRow({ event, idBytes, body }: EncodedEvent): unknown[] {
  return [
    event.projectId,
    BigInt(event.receivedMs),
    idBytes,
    event.organizationId,
    BigInt(expiresDayOf(event)),
    event.keyId,
    BigInt(Math.trunc(event.timeMs)),
    event.category,
    storableText(event.level),
    storableText(event.title),
    storableText(event.culprit),
    storableText(event.platform),
    storableText(event.release),
    storableText(event.environment),
    storableText(event.transaction),
    storableText(event.user),
    storableText(event.sdk),
    storableText(event.searchText),
    body.encoding,
    body.bytes,
  ];
}
