import { randomUUID } from 'node:crypto';
import type { DataCategory } from '#lib/ingest/data-category.ts';
import {
  ATTACHMENT_CHUNK_BYTES,
  type AttachmentMeta,
  encodeIngestMessage,
  INLINE_ATTACHMENT_BYTES,
  type IngestMessage,
  ingestKey,
} from '#lib/ingest/ingest-message.ts';
import { TOPICS, type Topic } from '#lib/ingest/topics.ts';
import { MAX_RECORD_BYTES, type NewRecord } from '#lib/log/log.ts';
import type { Counted } from './pipeline-quotas.ts';
import type { ProcessedAttachment } from './processing.ts';

/** Of the attachments that go with an event, together: what is more goes in pieces. A record has a largest size. */
const MAX_INLINE_BYTES = 256 * 1024;

/**
 * What goes to the log of an envelope: pieces of attachments and user reports before the event that they belong to.
 * Undefined: one of them is too large for a record.
 */
export function recordsOf(counted: Counted): NewRecord[] | undefined {
  const records = allRecordsOf(counted);
  const fits = records.every(({ key, value }) => key.byteLength + value.byteLength <= MAX_RECORD_BYTES);
  return fits ? records : undefined;
}

function allRecordsOf(counted: Counted): NewRecord[] {
  const { attachments, userReports, events, receivedMs } = counted;
  const records: NewRecord[] = [];
  const [first, ...others] = events;
  let inlineBytes = 0;
  const metas = attachments.map((attachment) => {
    const sizeBytes = attachment.payload.byteLength;
    const isInline = sizeBytes <= INLINE_ATTACHMENT_BYTES && inlineBytes + sizeBytes <= MAX_INLINE_BYTES;
    if (isInline) inlineBytes += sizeBytes;
    return { attachment, meta: addAttachment(counted, attachment, isInline, records) };
  });
  for (const { eventId, payload } of userReports) {
    const report = { type: 'user_report', ...belonging(counted, eventId), payload, startTimeMs: receivedMs } as const;
    records.push(recordOf(TOPICS.attachments, report));
  }
  if (first === undefined) {
    for (const { attachment, meta } of metas) {
      const whose = belonging(counted, attachment.eventId);
      const message = { type: 'attachment', ...whose, startTimeMs: receivedMs, attachment: meta } as const;
      records.push(recordOf(TOPICS.attachments, message));
    }
    return records;
  }
  const isAlone = attachments.length === 0 && userReports.length === 0;
  for (const event of [first, ...others]) {
    const { eventId, category, payload } = event;
    const isFirst = event === first;
    records.push(
      recordOf(isAlone || !isFirst ? topicOf(category) : TOPICS.attachments, {
        type: 'event',
        ...belonging(counted, eventId),
        payload,
        startTimeMs: receivedMs,
        // What of it is of use is in the event, by the project's settings.
        remoteAddr: undefined,
        category,
        attachments: isFirst ? metas.map(({ meta }) => meta) : [],
      }),
    );
  }
  return records;
}

function addAttachment(
  counted: Counted,
  attachment: ProcessedAttachment,
  isInline: boolean,
  records: NewRecord[],
): AttachmentMeta {
  const { name, contentType, attachmentType, payload, eventId } = attachment;
  const id = randomUUID();
  const meta = { id, name, contentType, attachmentType, sizeBytes: payload.byteLength };
  if (isInline) return { ...meta, content: { data: payload } };
  const chunks = Math.ceil(payload.byteLength / ATTACHMENT_CHUNK_BYTES);
  for (let chunkIndex = 0; chunkIndex < chunks; chunkIndex += 1) {
    const from = chunkIndex * ATTACHMENT_CHUNK_BYTES;
    const piece = payload.subarray(from, from + ATTACHMENT_CHUNK_BYTES);
    const whose = belonging(counted, eventId);
    records.push(recordOf(TOPICS.attachments, { type: 'attachment_chunk', ...whose, payload: piece, id, chunkIndex }));
  }
  return { ...meta, content: { chunks } };
}

function belonging({ config }: Counted, eventId: string) {
  const { projectId, organizationId, keyId, retentionDays } = config;
  return { eventId, projectId, organizationId, keyId, retentionDays };
}

function recordOf(topic: Topic, message: IngestMessage): NewRecord {
  return { topic, key: ingestKey(message.eventId, message.organizationId), value: encodeIngestMessage(message) };
}

function topicOf(category: DataCategory): Topic {
  switch (category) {
    case 'transaction':
      return TOPICS.transactions;
    case 'feedback':
      return TOPICS.feedback;
    default:
      return TOPICS.events;
  }
}
