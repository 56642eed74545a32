import type { Transaction } from 'kysely';
import { MultiRowInsert } from '#lib/sql/multi-row-insert.ts';
import type { EncodedBody } from './body-codec.ts';
import { expiresDayOf } from './days.ts';
import { eventIdOf, eventKey } from './event-id.ts';
import type { NewEvent } from './event-store.ts';
import { LISTED_COLUMNS } from './read-events.ts';
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
  ...LISTED_COLUMNS,
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

/** What a batch's events are, by what is stored. */
export interface TakenEvents {
  /** Of a batch too the first. */
  readonly fresh: readonly EncodedEvent[];
  /** Others have their ids. */
  readonly duplicates: readonly EncodedEvent[];
  /** Records of the very event that is stored: an append that was repeated, as nobody knew that it had worked. */
  readonly repeats: readonly EncodedEvent[];
}

/** Takes the ids of those that are new. */
export async function takeNewEvents(
  tx: Transaction<EventSchema>,
  events: readonly EncodedEvent[],
): Promise<TakenEvents> {
  const candidates = new Map<string, EncodedEvent>();
  const others: EncodedEvent[] = [];
  for (const each of events) {
    const key = keyOf(each);
    if (candidates.has(key)) others.push(each);
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
  const known: EncodedEvent[] = [];
  if (taken.length < rows.length) {
    const mine = new Set(taken.map(({ project_id, event_id }) => eventKey(project_id, eventIdOf(event_id))));
    for (const [key, each] of sorted) {
      if (mine.has(key)) continue;
      candidates.delete(key);
      known.push(each);
    }
  }
  const fresh = [...candidates.values()];
  if (known.length === 0 && others.length === 0) return { fresh, duplicates: [], repeats: [] };

  const received = await receivedTimes(tx, known);
  for (const { event } of fresh) received.set(keyOf({ event }), BigInt(event.receivedMs));
  const isRepeat = (each: EncodedEvent) => received.get(keyOf(each)) === BigInt(each.event.receivedMs);
  const again = [...others, ...known];
  return { fresh, duplicates: again.filter((each) => !isRepeat(each)), repeats: again.filter(isRepeat) };
}

/** When those were received that have the ids of these. */
async function receivedTimes(
  tx: Transaction<EventSchema>,
  events: readonly EncodedEvent[],
): Promise<Map<string, bigint>> {
  const times = new Map<string, bigint>();
  for (const { event, idBytes } of events) {
    const row = await tx
      .selectFrom('event_ids')
      .select('received_ms')
      .where('project_id', '=', event.projectId)
      .where('event_id', '=', idBytes)
      .executeTakeFirst();
    if (row !== undefined) times.set(keyOf({ event }), row.received_ms);
  }
  return times;
}

function keyOf({ event }: Pick<EncodedEvent, 'event'>): string {
  return eventKey(event.projectId, event.eventId);
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
