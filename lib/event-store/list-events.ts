import { type Kysely, type RawBuilder, type SelectQueryBuilder, sql } from 'kysely';
import { StoreUnavailableError } from '#lib/sql/database-errors.ts';
import type { DatabaseKind } from '#lib/sql/database-kind.ts';
import type { EventDatabase } from './database.ts';
import { dayOf } from './days.ts';
import { bytesOfEventId, eventIdOf } from './event-id.ts';
import { type EventPage, type EventPosition, type EventQuery, SearchTooLongError } from './event-store.ts';
import { type ListedRow, selectListed, today, withAttachments } from './read-events.ts';
import type { EventSchema } from './schema.ts';
import { storableBound } from './storable-number.ts';
import { storableText } from './storable-text.ts';

/** So many events are looked through at once on SQLite, in some ms: its queries hold up the event loop. */
const WINDOW_EVENTS = 500;
/** PostgreSQL's state of a statement that was ended for its time. */
const QUERY_CANCELED = '57014';

export async function listEvents(
  database: Pick<EventDatabase, 'reader' | 'searcher' | 'kind'>,
  query: EventQuery,
  deadlineMs: number,
): Promise<EventPage> {
  const wanted = query.limit + 1;
  const rows = await search(database, query, wanted, deadlineMs);
  const page = rows.slice(0, query.limit);
  return {
    events: await withAttachments(database.reader, page),
    next: rows.length > query.limit ? positionOf(page.at(-1)) : undefined,
  };
}

function search(
  { reader, searcher, kind }: Pick<EventDatabase, 'reader' | 'searcher' | 'kind'>,
  query: EventQuery,
  wanted: number,
  deadlineMs: number,
): Promise<ListedRow[]> {
  if (!isSelective(query))
    return inOrder(inRange(selectListed(reader), query, query.after))
      .limit(wanted)
      .execute();
  return (kind === 'postgres' ? searchAtOnce : searchByWindows)(searcher, query, wanted, deadlineMs);
}

async function searchAtOnce(
  db: Kysely<EventSchema>,
  query: EventQuery,
  wanted: number,
  deadlineMs: number,
): Promise<ListedRow[]> {
  try {
    return await db.transaction().execute(async (tx) => {
      await sql`select set_config('statement_timeout', ${`${deadlineMs}`}, true)`.execute(tx);
      return inOrder(matching(inRange(selectListed(tx), query, query.after), 'postgres', query))
        .limit(wanted)
        .execute();
    });
  } catch (error) {
    throw isCanceled(error) ? new SearchTooLongError('the search took too long', { cause: error }) : error;
  }
}

async function searchByWindows(
  db: Kysely<EventSchema>,
  query: EventQuery,
  wanted: number,
  deadlineMs: number,
): Promise<ListedRow[]> {
  const deadline = performance.now() + deadlineMs;
  const rows: ListedRow[] = [];
  let after = query.after;
  for (;;) {
    const last = await windowEnd(db, query, after);
    let window = inRange(selectListed(db), query, after);
    if (last !== undefined) window = window.where(isAt('>=', last));
    rows.push(
      ...(await inOrder(matching(window, 'sqlite', query))
        .limit(wanted - rows.length)
        .execute()),
    );
    if (last === undefined || rows.length === wanted) return rows;
    if (performance.now() > deadline) throw new SearchTooLongError('the search took too long');
    after = last;
  }
}

/** The last of the next events, whether they match or not. Undefined: there are fewer. Read from the index alone. */
async function windowEnd(
  db: Kysely<EventSchema>,
  query: EventQuery,
  after: EventPosition | undefined,
): Promise<EventPosition | undefined> {
  const row = await inOrder(
    inRange(db.selectFrom('events').select(['received_ms', 'project_id', 'event_id']), query, after, false),
  )
    .limit(1)
    .offset(WINDOW_EVENTS - 1)
    .executeTakeFirst();
  return positionOf(row);
}

/** What an index finds. */
function inRange<O>(
  select: SelectQueryBuilder<EventSchema, 'events', O>,
  { organizationId, projectId, fromMs, toMs }: EventQuery,
  after: EventPosition | undefined,
  isKept = true,
): SelectQueryBuilder<EventSchema, 'events', O> {
  // One of the two: with both SQLite would take the index that suits the order less.
  let found =
    projectId === undefined
      ? select.where('organization_id', '=', organizationId)
      : select.where('project_id', '=', projectId);
  if (isKept) {
    found = found.where('expires_day', '>', today());
    if (projectId !== undefined) found = found.where(sql<boolean>`+organization_id = ${organizationId}`);
  }
  if (fromMs !== undefined) {
    found = found.where('received_ms', '>=', storableBound(fromMs));
    // Nothing expires before it came: PostgreSQL leaves out whole partitions.
    if (isKept) found = found.where('expires_day', '>', storableBound(dayOf(fromMs)));
  }
  if (toMs !== undefined) found = found.where('received_ms', '<', storableBound(toMs));
  return after === undefined ? found : found.where(isAt('<', after));
}

/** What has to be looked at. */
function matching<O>(
  select: SelectQueryBuilder<EventSchema, 'events', O>,
  kind: DatabaseKind,
  query: EventQuery,
): SelectQueryBuilder<EventSchema, 'events', O> {
  let found = select;
  for (const column of ['level', 'release', 'environment', 'category'] as const) {
    const value = query[column];
    if (value !== undefined) found = found.where(column, '=', storableText(value));
  }
  const indexOf = sql.raw(kind === 'sqlite' ? 'instr' : 'strpos');
  for (const word of query.words) {
    found = found.where(sql<boolean>`${indexOf}(${sql.ref('search_text')}, ${storableText(word.toLowerCase())}) > 0`);
  }
  return found;
}

function isSelective({ level, release, environment, category, words }: EventQuery): boolean {
  return words.length > 0 || [level, release, environment, category].some((value) => value !== undefined);
}

function inOrder<O>(select: SelectQueryBuilder<EventSchema, 'events', O>) {
  return select.orderBy('received_ms', 'desc').orderBy('project_id', 'desc').orderBy('event_id', 'desc');
}

function isAt(operator: '<' | '>=', { receivedMs, projectId, eventId }: EventPosition): RawBuilder<boolean> {
  const columns = sql`(${sql.ref('received_ms')}, ${sql.ref('project_id')}, ${sql.ref('event_id')})`;
  const values = sql`(${BigInt(receivedMs)}, ${projectId}, ${bytesOfEventId(eventId)})`;
  return sql`${columns} ${sql.raw(operator)} ${values}`;
}

function positionOf(
  row: Pick<ListedRow, 'received_ms' | 'project_id' | 'event_id'> | undefined,
): EventPosition | undefined {
  if (row === undefined) return undefined;
  return { receivedMs: Number(row.received_ms), projectId: row.project_id, eventId: eventIdOf(row.event_id) };
}

function isCanceled(error: unknown): boolean {
  if (!(error instanceof StoreUnavailableError)) return false;
  const { cause } = error;
  return cause instanceof Error && 'code' in cause && cause.code === QUERY_CANCELED;
}
