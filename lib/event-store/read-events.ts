import type { Kysely, Selectable } from 'kysely';
import { decodeBody } from './body-codec.ts';
import { DAY_MS, dayOf, retentionDaysOf } from './days.ts';
import { bytesOfEventId, eventIdOf, eventKey } from './event-id.ts';
import type { ListedEvent, StoredEvent } from './event-store.ts';
import type { AttachmentTable, EventSchema, EventTable } from './schema.ts';
import { storableText } from './storable-text.ts';

/** All but what is searched and the body. */
export const LISTED_COLUMNS = [
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
] as const satisfies (keyof EventTable)[];

export type ListedRow = Pick<Selectable<EventTable>, (typeof LISTED_COLUMNS)[number]>;

type ListedAttachment = ListedEvent['attachments'][number];

export async function getEvent(
  db: Kysely<EventSchema>,
  projectId: bigint,
  eventId: string,
): Promise<StoredEvent | undefined> {
  const found = await db
    .selectFrom('event_ids')
    .select(['received_ms', 'expires_day'])
    .where('project_id', '=', projectId)
    .where('event_id', '=', bytesOfEventId(eventId))
    .where('expires_day', '>', today())
    .executeTakeFirst();
  if (found === undefined) return undefined;
  // By its day too: PostgreSQL then looks into one partition.
  const row = await db
    .selectFrom('events')
    .select([...LISTED_COLUMNS, 'body_encoding', 'body'])
    .where('project_id', '=', projectId)
    .where('received_ms', '=', found.received_ms)
    .where('event_id', '=', bytesOfEventId(eventId))
    .where('expires_day', '=', found.expires_day)
    .executeTakeFirst();
  if (row === undefined) return undefined;
  const [[event], body] = await Promise.all([
    withAttachments(db, [row]),
    decodeBody({ encoding: row.body_encoding, bytes: row.body }),
  ]);
  return event === undefined ? undefined : { ...event, body };
}

export function selectListed(db: Kysely<EventSchema>) {
  return db.selectFrom('events').select(LISTED_COLUMNS);
}

/** What lists show of events, in the same order. */
export async function withAttachments(db: Kysely<EventSchema>, rows: readonly ListedRow[]): Promise<ListedEvent[]> {
  if (rows.length === 0) return [];
  const attachments = await attachmentsOf(db, rows);
  return rows.map((row) => {
    const eventId = eventIdOf(row.event_id);
    const receivedMs = Number(row.received_ms);
    const expiresDay = Number(row.expires_day);
    return {
      organizationId: row.organization_id,
      projectId: row.project_id,
      keyId: row.key_id,
      eventId,
      receivedMs,
      retentionDays: retentionDaysOf(receivedMs, expiresDay),
      expiresMs: expiresDay * DAY_MS,
      category: row.category as ListedEvent['category'],
      level: row.level,
      title: row.title,
      culprit: row.culprit,
      platform: row.platform,
      release: row.release,
      environment: row.environment,
      transaction: row.transaction_name,
      user: row.user_label,
      sdk: row.sdk,
      timeMs: Number(row.time_ms),
      attachments: attachments.get(eventKey(row.project_id, eventId)) ?? [],
    };
  });
}

/**
 * An attachment's chunks, read as they are asked for. Undefined: there is none.
 */
export async function readAttachment(
  db: Kysely<EventSchema>,
  projectId: bigint,
  eventId: string,
  attachmentId: string,
): Promise<{ chunk(index: number): Promise<Uint8Array | undefined> } | undefined> {
  const days = await db
    .selectFrom('attachments')
    .select(['chunks_from_day', 'chunks_to_day'])
    .where('project_id', '=', projectId)
    .where('event_id', '=', bytesOfEventId(eventId))
    .where('id', '=', storableText(attachmentId))
    .where('expires_day', '>', today())
    .executeTakeFirst();
  if (days === undefined) return undefined;
  return {
    chunk: async (index) => {
      const row = await db
        .selectFrom('attachment_chunks')
        .select('data')
        .where('project_id', '=', projectId)
        .where('event_id', '=', bytesOfEventId(eventId))
        .where('attachment_id', '=', storableText(attachmentId))
        .where('chunk_index', '=', BigInt(index))
        .where('expires_day', '>=', days.chunks_from_day)
        .where('expires_day', '<=', days.chunks_to_day)
        .limit(1)
        .executeTakeFirst();
      return row?.data;
    },
  };
}

/** The day that has begun: what expires on it has expired. */
export function today(): bigint {
  return BigInt(dayOf(Date.now()));
}

async function attachmentsOf(
  db: Kysely<EventSchema>,
  rows: readonly ListedRow[],
): Promise<Map<string, ListedAttachment[]>> {
  const found = await db
    .selectFrom('attachments')
    .select(['project_id', 'event_id', 'id', 'filename', 'content_type', 'attachment_type', 'size_bytes'])
    .where((eb) =>
      eb(
        eb.refTuple('project_id', 'event_id'),
        'in',
        rows.map((row) => eb.tuple(row.project_id, row.event_id)),
      ),
    )
    .where('expires_day', '>', today())
    .orderBy('id')
    .execute();
  const byEvent = new Map<string, ListedAttachment[]>();
  for (const row of found) {
    const key = eventKey(row.project_id, eventIdOf(row.event_id));
    const list = byEvent.get(key);
    if (list === undefined) byEvent.set(key, [attachmentOf(row)]);
    else list.push(attachmentOf(row));
  }
  return byEvent;
}

function attachmentOf(
  row: Pick<AttachmentTable, 'id' | 'filename' | 'content_type' | 'attachment_type' | 'size_bytes'>,
): ListedAttachment {
  return {
    id: row.id,
    filename: row.filename,
    contentType: row.content_type,
    attachmentType: row.attachment_type,
    sizeBytes: Number(row.size_bytes),
  };
}
