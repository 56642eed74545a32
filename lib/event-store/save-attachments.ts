import { sql, type Transaction } from 'kysely';
import { MultiRowInsert } from '#lib/sql/multi-row-insert.ts';
import { expiresDayOf } from './days.ts';
import { bytesOfEventId, eventIdOf, eventKey } from './event-id.ts';
import type { NewAttachment, NewAttachmentChunk, Owner } from './event-store.ts';
import type { OutcomeCounter } from './outcome-counter.ts';
import type { AttachmentChunkTable, AttachmentTable, EventSchema } from './schema.ts';
import { storableText } from './storable-text.ts';

/** An attachment, and whose it is. */
export interface OwnedAttachment {
  readonly owner: Owner;
  readonly attachment: NewAttachment;
}

/** Small ones come with their event, and are still not put into one row, however large. */
const MAX_CHUNK_BYTES = 1024 * 1024;
/** A statement has to be small enough to be held whole. */
const MAX_CHUNKS_AT_ONCE = 4;

const CHUNK_COLUMNS = [
  'project_id',
  'event_id',
  'attachment_id',
  'chunk_index',
  'expires_day',
  'data',
] as const satisfies (keyof AttachmentChunkTable)[];
const insertChunks = new MultiRowInsert<EventSchema, keyof AttachmentChunkTable>(
  CHUNK_COLUMNS,
  (db, rows) =>
    db
      .insertInto('attachment_chunks')
      .values(rows)
      .onConflict((conflict) => conflict.doNothing()),
  MAX_CHUNKS_AT_ONCE,
);

const COLUMNS = [
  'project_id',
  'event_id',
  'id',
  'organization_id',
  'expires_day',
  'filename',
  'content_type',
  'attachment_type',
  'size_bytes',
  'chunks_from_day',
  'chunks_to_day',
] as const satisfies (keyof AttachmentTable)[];
const insertAttachments = new MultiRowInsert<EventSchema, keyof AttachmentTable>(COLUMNS, (db, rows) =>
  db
    .insertInto('attachments')
    .values(rows)
    .onConflict((conflict) => conflict.doNothing())
    .returning(['project_id', 'event_id', 'id']),
);

/** A day more than their event: they come before it, and that may be before midnight. */
export function chunkExpiresDayOf(owner: Pick<Owner, 'receivedMs' | 'retentionDays'>): number {
  return expiresDayOf(owner) + 1;
}

export async function saveChunks(tx: Transaction<EventSchema>, chunks: readonly NewAttachmentChunk[]): Promise<void> {
  await insertChunks.run(
    tx,
    chunks.map((chunk) => chunkRow(chunk, chunk.attachmentId, chunk.index, chunk.data)),
  );
}

/** Saves those that are not there yet, and counts all of them. */
export async function saveAttachments(
  tx: Transaction<EventSchema>,
  attachments: readonly OwnedAttachment[],
  counter: OutcomeCounter,
): Promise<void> {
  if (attachments.length === 0) return;
  const wanted = new Map<string, OwnedAttachment>();
  for (const each of attachments) {
    const key = attachmentKey(each);
    if (wanted.has(key)) countAttachment(each, counter, 'duplicate');
    else wanted.set(key, each);
  }
  const days = await chunkDays(
    tx,
    [...wanted.values()].filter(({ attachment }) => attachment.data === undefined),
  );
  const rows = [...wanted.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, each]) => attachmentRow(each, days.get(key)));
  const saved = await insertAttachments.run<Pick<AttachmentTable, 'project_id' | 'event_id' | 'id'>>(tx, rows);
  const fresh = new Set(saved.map((row) => `${eventKey(row.project_id, eventIdOf(row.event_id))}/${row.id}`));
  for (const [key, each] of wanted) {
    countAttachment(each, counter, fresh.has(key) ? undefined : 'duplicate');
    if (!fresh.has(key)) wanted.delete(key);
  }
  await insertChunks.run(tx, [...wanted.values()].flatMap(inlineChunks));
}

/** Of an event that is not stored: they go with it, but for what the stored event has too, as where one was logged twice. */
export async function dropAttachments(
  tx: Transaction<EventSchema>,
  attachments: readonly OwnedAttachment[],
): Promise<void> {
  for (const { owner, attachment } of attachments) {
    if (attachment.data !== undefined) continue;
    await tx
      .deleteFrom('attachment_chunks')
      .where('project_id', '=', owner.projectId)
      .where('event_id', '=', bytesOfEventId(owner.eventId))
      .where('attachment_id', '=', storableText(attachment.id))
      .where(({ not, exists, selectFrom }) =>
        not(
          exists(
            selectFrom('attachments')
              .select(sql<number>`1`.as('one'))
              .where('project_id', '=', owner.projectId)
              .where('event_id', '=', bytesOfEventId(owner.eventId))
              .where('id', '=', storableText(attachment.id)),
          ),
        ),
      )
      .execute();
  }
}

export function countAttachment(
  { owner, attachment }: OwnedAttachment,
  counter: OutcomeCounter,
  reason: 'duplicate' | undefined,
): void {
  const result = reason === undefined ? ({ outcome: 'accepted' } as const) : ({ outcome: 'invalid', reason } as const);
  counter.addFor(owner, result, 'attachment', attachment.sizeBytes);
  counter.addFor(owner, result, 'attachment_item', 1);
}

interface DaysOfChunks {
  readonly from: bigint;
  readonly to: bigint;
}

/** By whose chunks they are. On PostgreSQL this looks into every partition: chunks are of large attachments only. */
async function chunkDays(
  tx: Transaction<EventSchema>,
  attachments: readonly OwnedAttachment[],
): Promise<Map<string, DaysOfChunks>> {
  const days = new Map<string, DaysOfChunks>();
  for (const each of attachments) {
    const { owner, attachment } = each;
    const { from, to } = await tx
      .selectFrom('attachment_chunks')
      .select((eb) => [eb.fn.min('expires_day').as('from'), eb.fn.max('expires_day').as('to')])
      .where('project_id', '=', owner.projectId)
      .where('event_id', '=', bytesOfEventId(owner.eventId))
      .where('attachment_id', '=', storableText(attachment.id))
      .executeTakeFirstOrThrow();
    if (from !== null && to !== null) days.set(attachmentKey(each), { from, to });
  }
  return days;
}

function attachmentRow({ owner, attachment }: OwnedAttachment, days: DaysOfChunks | undefined): unknown[] {
  const day = BigInt(chunkExpiresDayOf(owner));
  return [
    owner.projectId,
    bytesOfEventId(owner.eventId),
    storableText(attachment.id),
    owner.organizationId,
    BigInt(expiresDayOf(owner)),
    storableText(attachment.filename),
    storableText(attachment.contentType),
    storableText(attachment.attachmentType),
    BigInt(attachment.sizeBytes),
    days?.from ?? day,
    days?.to ?? day,
  ];
}

function inlineChunks({ owner, attachment: { id, data } }: OwnedAttachment): unknown[][] {
  const rows: unknown[][] = [];
  for (let from = 0; data !== undefined && from < data.byteLength; from += MAX_CHUNK_BYTES) {
    rows.push(chunkRow(owner, id, rows.length, data.subarray(from, from + MAX_CHUNK_BYTES)));
  }
  return rows;
}

function chunkRow(owner: Owner, attachmentId: string, index: number, data: Uint8Array): unknown[] {
  return [
    owner.projectId,
    bytesOfEventId(owner.eventId),
    storableText(attachmentId),
    BigInt(index),
    BigInt(chunkExpiresDayOf(owner)),
    data,
  ];
}

function attachmentKey({ owner, attachment }: OwnedAttachment): string {
  return `${eventKey(owner.projectId, owner.eventId)}/${storableText(attachment.id)}`;
}
