import { decode, encode } from '@msgpack/msgpack';
import { type DataCategory, isDataCategory } from './data-category.ts';

/**
 * What the ingest topics carry: MessagePack maps, with the names that Sentry's services read. `organization_id`, `key_id`,
 * `category` and `retention_days` are ours beside them.
 */
export type IngestMessage = EventMessage | AttachmentChunkMessage | AttachmentMessage | UserReportMessage;

/** Whose it is. */
export interface Belonging {
  readonly eventId: string;
  readonly projectId: bigint;
  readonly organizationId: bigint;
  readonly keyId: bigint;
  readonly retentionDays: number;
}

export interface EventMessage extends Belonging {
  readonly type: 'event';
  /** The event: JSON in UTF-8. */
  readonly payload: Uint8Array;
  /** When it was received. */
  readonly startTimeMs: number;
  readonly remoteAddr: string | undefined;
  readonly category: DataCategory;
  readonly attachments: readonly AttachmentMeta[];
}

/** All chunks of an attachment precede the event that names it. */
export interface AttachmentChunkMessage extends Belonging {
  readonly type: 'attachment_chunk';
  readonly payload: Uint8Array;
  /** Of the attachment. */
  readonly id: string;
  readonly chunkIndex: number;
}

/** An attachment that came by itself, for an event that has come or will come. */
export interface AttachmentMessage extends Belonging {
  readonly type: 'attachment';
  readonly startTimeMs: number;
  readonly attachment: AttachmentMeta;
}

export interface UserReportMessage extends Belonging {
  readonly type: 'user_report';
  readonly payload: Uint8Array;
  readonly startTimeMs: number;
}

export interface AttachmentMeta {
  /** A UUID. */
  readonly id: string;
  readonly name: string;
  readonly contentType: string | undefined;
  readonly attachmentType: string;
  readonly sizeBytes: number;
  /** How many chunks it has; or its bytes, where it is small. */
  readonly content: { readonly chunks: number } | { readonly data: Uint8Array };
}

export const ATTACHMENT_CHUNK_BYTES = 1024 * 1024;
/** An attachment up to here goes with its event. */
export const INLINE_ATTACHMENT_BYTES = 16 * 1024;

/** What is no message of an ingest topic: it is put aside with the reason. */
export class MalformedMessageError extends Error {
  override readonly name = 'MalformedMessageError';
}

/** Of an event and all that belongs to it: one partition, spread over all of them. */
export function ingestKey(eventId: string, organizationId: bigint): Uint8Array {
  const key = Buffer.from(eventId, 'hex');
  if (key.byteLength !== 16) throw new RangeError('an event id has 32 hex digits');
  key.writeBigUInt64BE(key.readBigUInt64BE(0) ^ BigInt.asUintN(64, organizationId), 0);
  return key;
}

export function encodeIngestMessage(message: IngestMessage): Uint8Array {
  const common = {
    type: message.type,
    event_id: message.eventId,
    project_id: Number(message.projectId),
    organization_id: Number(message.organizationId),
    key_id: Number(message.keyId),
    retention_days: message.retentionDays,
  };
  switch (message.type) {
    case 'event':
      return encode({
        ...common,
        payload: message.payload,
        start_time: Math.floor(message.startTimeMs / 1000),
        start_time_ms: message.startTimeMs,
        remote_addr: message.remoteAddr ?? null,
        category: message.category,
        attachments: message.attachments.map((meta) => attachmentOf(meta, message.retentionDays)),
      });
    case 'attachment_chunk':
      return encode({ ...common, payload: message.payload, id: message.id, chunk_index: message.chunkIndex });
    case 'attachment':
      return encode({
        ...common,
        start_time_ms: message.startTimeMs,
        attachment: attachmentOf(message.attachment, message.retentionDays),
      });
    case 'user_report':
      return encode({
        ...common,
        payload: message.payload,
        start_time: Math.floor(message.startTimeMs / 1000),
        start_time_ms: message.startTimeMs,
      });
  }
}

/** @throws MalformedMessageError */
export function decodeIngestMessage(value: Uint8Array): IngestMessage {
  const map = new Fields(value);
  const belonging: Belonging = {
    eventId: map.eventId(),
    projectId: map.id('project_id'),
    organizationId: map.id('organization_id'),
    keyId: map.id('key_id'),
    retentionDays: map.count('retention_days'),
  };
  const type = map.text('type');
  switch (type) {
    case 'event':
      return {
        type,
        ...belonging,
        payload: map.bytes('payload'),
        startTimeMs: map.count('start_time_ms'),
        remoteAddr: map.optionalText('remote_addr'),
        category: map.category(),
        attachments: map.list('attachments').map(readAttachment),
      };
    case 'attachment_chunk':
      return {
        type,
        ...belonging,
        payload: map.bytes('payload'),
        id: map.text('id'),
        chunkIndex: map.count('chunk_index'),
      };
    case 'attachment':
      return {
        type,
        ...belonging,
        startTimeMs: map.count('start_time_ms'),
        attachment: readAttachment(map.value('attachment')),
      };
    case 'user_report':
      return { type, ...belonging, payload: map.bytes('payload'), startTimeMs: map.count('start_time_ms') };
    default:
      throw new MalformedMessageError('type is none that is known');
  }
}

function attachmentOf(meta: AttachmentMeta, retentionDays: number) {
  return {
    id: meta.id,
    name: meta.name,
    content_type: meta.contentType ?? null,
    attachment_type: meta.attachmentType,
    size: meta.sizeBytes,
    rate_limited: false,
    retention_days: retentionDays,
    ...meta.content,
  };
}

function readAttachment(value: unknown): AttachmentMeta {
  const map = new Fields(value);
  return {
    id: map.text('id'),
    name: map.text('name'),
    contentType: map.optionalText('content_type'),
    attachmentType: map.text('attachment_type'),
    sizeBytes: map.count('size'),
    content: map.has('data') ? { data: map.bytes('data') } : { chunks: map.count('chunks') },
  };
}

class Fields {
  readonly #map: Record<string, unknown>;

  constructor(value: unknown) {
    const map = value instanceof Uint8Array ? decoded(value) : value;
    if (typeof map !== 'object' || map === null) throw new MalformedMessageError('not a map');
    this.#map = map as Record<string, unknown>;
  }

  has(name: string): boolean {
    return this.#map[name] !== undefined && this.#map[name] !== null;
  }

  value(name: string): unknown {
    return this.#map[name];
  }

  text(name: string): string {
    const value = this.#map[name];
    if (typeof value !== 'string') throw new MalformedMessageError(`${name} is no text`);
    return value;
  }

  optionalText(name: string): string | undefined {
    return this.has(name) ? this.text(name) : undefined;
  }

  bytes(name: string): Uint8Array {
    const value = this.#map[name];
    if (!(value instanceof Uint8Array)) throw new MalformedMessageError(`${name} are no bytes`);
    return value;
  }

  count(name: string): number {
    const value = this.#map[name];
    if (!Number.isSafeInteger(value) || (value as number) < 0) throw new MalformedMessageError(`${name} is no number`);
    return value as number;
  }

  id(name: string): bigint {
    return BigInt(this.count(name));
  }

  list(name: string): readonly unknown[] {
    const value = this.#map[name] ?? [];
    if (!Array.isArray(value)) throw new MalformedMessageError(`${name} is no list`);
    return value;
  }

  eventId(): string {
    const id = this.text('event_id');
    if (!/^[0-9a-f]{32}$/.test(id)) throw new MalformedMessageError('event_id is no event id');
    return id;
  }

  category(): DataCategory {
    const name = this.text('category');
    if (!isDataCategory(name)) throw new MalformedMessageError('category is none that is known');
    return name;
  }
}

function decoded(value: Uint8Array): unknown {
  try {
    return decode(value);
  } catch (cause) {
    throw new MalformedMessageError('not MessagePack', { cause });
  }
}
