import { type Kysely, sql } from 'kysely';
import type { DatabaseKind } from '#lib/sql/database-kind.ts';
import type { EventDatabase } from './database.ts';
import { DAY_MS, dayOf, HOUR_MS } from './days.ts';
import type { EventSchema } from './schema.ts';

/** Of a transaction: what it holds, others wait for. */
const MAX_ROWS = 500;
const MAX_CHUNKS = 16;
/** The series by hour. Totals are kept for ever. */
export const OUTCOME_HOURS_KEPT_DAYS = 400;

interface Deletion {
  readonly table: keyof EventSchema;
  readonly key: readonly string[];
  readonly expires: 'expires_day' | 'hour_ms';
  readonly maxRows: number;
  /** Where its days are no partitions. */
  readonly kind?: DatabaseKind;
}

const DELETIONS: readonly Deletion[] = [
  { table: 'attachments', key: ['project_id', 'event_id', 'id'], expires: 'expires_day', maxRows: MAX_ROWS },
  { table: 'user_reports', key: ['project_id', 'event_id', 'digest'], expires: 'expires_day', maxRows: MAX_ROWS },
  {
    table: 'outcome_writers',
    key: ['consumer_group', 'topic_id', 'topic_partition', 'writer'],
    expires: 'expires_day',
    maxRows: MAX_ROWS,
  },
  {
    table: 'attachment_chunks',
    key: ['project_id', 'event_id', 'attachment_id', 'chunk_index', 'expires_day'],
    expires: 'expires_day',
    maxRows: MAX_CHUNKS,
    kind: 'sqlite',
  },
  {
    table: 'outcome_hours',
    key: ['organization_id', 'hour_ms', 'project_id', 'key_id', 'outcome', 'reason', 'category'],
    expires: 'hour_ms',
    maxRows: MAX_ROWS,
  },
];

/** Deletes some of what has expired from every table. @returns whether there may be more. */
export async function deleteExpired({ writer, kind, days }: EventDatabase, nowMs: number): Promise<boolean> {
  if (writer === undefined) throw new Error('the event store was opened to be read');
  const today = BigInt(dayOf(nowMs));
  const firstHour = BigInt(Math.floor(nowMs / HOUR_MS) * HOUR_MS - OUTCOME_HOURS_KEPT_DAYS * DAY_MS);
  let hasMore = (await deleteEvents(writer, kind, today)) === MAX_ROWS;
  for (const deletion of DELETIONS) {
    if (deletion.kind !== undefined && deletion.kind !== kind) continue;
    const last = deletion.expires === 'hour_ms' ? firstHour - 1n : today;
    if ((await deleteSome(writer, kind, deletion, last)) === deletion.maxRows) hasMore = true;
  }
  // A day later than it is asked for by anybody: clocks differ, and who writes goes by another.
  if (await days.drop(Number(today) - 1)) hasMore = true;
  return hasMore;
}

/** The ids, and on SQLite with them the events: partitions go as a whole. */
async function deleteEvents(db: Kysely<EventSchema>, kind: DatabaseKind, today: bigint): Promise<number> {
  const ids = {
    table: 'event_ids',
    key: ['project_id', 'event_id'],
    expires: 'expires_day',
    maxRows: MAX_ROWS,
  } as const;
  if (kind === 'postgres') return deleteSome(db, kind, ids, today);
  return db.transaction().execute(async (tx) => {
    // The same both times, as nobody else writes now; in the order of the index.
    const expired = sql`from event_ids where expires_day <= ${today}
      order by expires_day, project_id, event_id limit ${MAX_ROWS}`;
    await sql`delete from events where (project_id, received_ms, event_id) in
      (select project_id, received_ms, event_id ${expired})`.execute(tx);
    const { numAffectedRows = 0n } = await sql`delete from event_ids where (project_id, event_id) in
      (select project_id, event_id ${expired})`.execute(tx);
    return Number(numAffectedRows);
  });
}

async function deleteSome(
  db: Kysely<EventSchema>,
  kind: DatabaseKind,
  { table, key, expires, maxRows }: Deletion,
  last: bigint,
): Promise<number> {
  const columns = sql.join(key.map((name) => sql.ref(name)));
  // Others may delete the same at this moment, and need not wait for each other.
  const lock = sql.raw(kind === 'postgres' ? 'for update skip locked' : '');
  const { numAffectedRows = 0n } = await sql`delete from ${sql.table(table)} where (${columns}) in
    (select ${columns} from ${sql.table(table)} where ${sql.ref(expires)} <= ${last} limit ${maxRows} ${lock})`.execute(
    db,
  );
  return Number(numAffectedRows);
}
