import type { Effect, NewAttachment, NewEvent } from '#lib/event-store/event-store.ts';
import {
  type AttachmentMeta,
  decodeIngestMessage,
  type EventMessage,
  type IngestMessage,
  MalformedMessageError,
} from '#lib/ingest/ingest-message.ts';
import { decodeOutcome, MalformedOutcomeError, type Outcome } from '#lib/ingest/outcome.ts';
import { outcomesOfPutAside } from '#lib/ingest/put-aside.ts';
import type { LogRecord } from '#lib/log/log.ts';
import { boundedText } from './bounded-text.ts';
import { columnsOf } from './event-columns.ts';
import { type JsonMap, mapOf } from './json-fields.ts';

/** How a consumer reads the records of its topics. */
export interface RecordReader {
  /** @throws UnreadableError */
  effectOf(record: LogRecord): Effect;
  /** What stands in the place of one that was put aside. */
  putAside(record: LogRecord): readonly Effect[];
}

/** A record that means nothing to anybody as it is. The message says why, and nothing of what is in it. */
export class UnreadableError extends Error {
  override readonly name = 'UnreadableError';
}

const MAX_FILENAME = 255;
const MAX_TYPE = 128;
const DECODER = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export const INGEST_READER: RecordReader = {
  effectOf(record) {
    return ingestEffect(
      record,
      readable(() => decodeIngestMessage(record.value), MalformedMessageError),
    );
  },
  putAside({ offset, value, timestampMs }) {
    const outcomes = countedOf(value, timestampMs);
    if (outcomes.length === 0) return [{ kind: 'none', offset }];
    return outcomes.map((outcome) => ({ kind: 'outcome', offset, outcome }));
  },
};

export const OUTCOME_READER: RecordReader = {
  effectOf({ offset, value }) {
    return { kind: 'outcome', offset, outcome: readable(() => decodeOutcome(value), MalformedOutcomeError) };
  },
  // It is not known what it would have counted. Whoever replays it counts it.
  putAside: ({ offset }) => [{ kind: 'none', offset }],
};

/** Where nothing can be told of it, it counts for nobody. Never throws: nobody else could put it aside. */
function countedOf(value: Uint8Array, timestampMs: number): readonly Outcome[] {
  try {
    return outcomesOfPutAside(value, timestampMs);
  } catch {
    return outcomesOfPutAside(new Uint8Array(), timestampMs);
  }
}

function readable<T>(read: () => T, malformed: new (message?: string) => Error): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof malformed) throw new UnreadableError(error.message, { cause: error });
    throw error;
  }
}

function ingestEffect({ offset, timestampMs }: LogRecord, message: IngestMessage): Effect {
  const { organizationId, projectId, keyId, eventId, retentionDays } = message;
  const owner = { organizationId, projectId, keyId, eventId, retentionDays };
  switch (message.type) {
    case 'event':
      return { kind: 'event', offset, event: newEvent(message) };
    case 'attachment_chunk': {
      const { id, chunkIndex, payload } = message;
      // It carries no time of its own; the log's is close.
      const chunk = { ...owner, receivedMs: timestampMs, attachmentId: id, index: chunkIndex, data: payload };
      return { kind: 'attachment_chunk', offset, chunk };
    }
    case 'attachment': {
      const attachment = { ...owner, receivedMs: message.startTimeMs, ...newAttachment(message.attachment) };
      return { kind: 'attachment', offset, attachment };
    }
    case 'user_report': {
      const report = { ...owner, receivedMs: message.startTimeMs, body: message.payload };
      return { kind: 'user_report', offset, report };
    }
  }
}

function newEvent(message: EventMessage): NewEvent {
  const { organizationId, projectId, keyId, eventId, retentionDays, category, payload } = message;
  return {
    organizationId,
    projectId,
    keyId,
    eventId,
    retentionDays,
    category,
    receivedMs: message.startTimeMs,
    ...columnsOf(readEvent(payload), message.startTimeMs),
    body: payload,
    attachments: message.attachments.map(newAttachment),
  };
}

/** @throws UnreadableError */
function readEvent(payload: Uint8Array): JsonMap {
  let json: unknown;
  try {
    json = JSON.parse(DECODER.decode(payload));
  } catch (cause) {
    throw new UnreadableError('the event is not JSON in UTF-8', { cause });
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new UnreadableError('the event is not a JSON object');
  }
  return mapOf(json);
}

function newAttachment(meta: AttachmentMeta): NewAttachment {
  return {
    id: boundedText(meta.id, MAX_TYPE),
    filename: boundedText(meta.name, MAX_FILENAME),
    contentType: boundedText(meta.contentType ?? 'application/octet-stream', MAX_TYPE),
    attachmentType: boundedText(meta.attachmentType, MAX_TYPE),
    sizeBytes: meta.sizeBytes,
    data: 'data' in meta.content ? meta.content.data : undefined,
  };
}
