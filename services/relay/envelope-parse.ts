import type { Envelope, Item } from './envelope.ts';
import { readEventFields } from './envelope-event-fields.ts';
import { newEventId, readEventId } from './envelope-event-id.ts';
import { DEFAULT_ENVELOPE_LIMITS, hasEvent, isEventItem, MAX_HEADER_LINE_BYTES, MAX_ITEMS } from './envelope-limits.ts';
import { EnvelopeRefusal } from './envelope-refusal.ts';

export interface ParsedEnvelope {
  readonly envelope: Envelope;
  /** What the envelope's header says of who sends it. */
  readonly dsn: string | undefined;
  readonly origin: string | undefined;
}

const LINE_FEED = 0x0a;

/** What a header may hold one thing in another. Deeper, copying it to another thread would take a stack of its own. */
const MAX_HEADER_DEPTH = 32;

/**
 * Reads an envelope: a line with its header, then items, each a line with its header and then its payload. Payloads are
 * views of the body. @throws EnvelopeRefusal
 */
export function parseEnvelope(body: Buffer, maxEventBytes = DEFAULT_ENVELOPE_LIMITS.maxEventBytes): ParsedEnvelope {
  if (body.byteLength === 0) throw new EnvelopeRefusal('empty_body');
  const end = lineEnd(body, 0);
  const { event_id, dsn, origin, sent_at, ...headers } = readHeader(body, 0, end);
  const items = readItems(body, end + 1);
  return {
    envelope: {
      eventId: eventIdOf(event_id, items, maxEventBytes),
      sentAtMs: readTime(sent_at),
      headers: checkDepth(headers),
      items,
    },
    dsn: textOf(dsn),
    origin: textOf(origin),
  };
}

/**
 * The header's, else the event's own, else, for an event, a new one. An event that is too large is refused in a moment, and
 * looking through it would take as long as thousands of others. @throws EnvelopeRefusal
 */
export function eventIdOf(ofHeader: unknown, items: readonly Item[], maxEventBytes: number): string | undefined {
  if (ofHeader !== undefined && ofHeader !== null) {
    const id = readEventId(ofHeader);
    if (id === undefined) throw new EnvelopeRefusal('invalid_event_id');
    return id;
  }
  const event = items.find(isEventItem);
  if (event === undefined) return hasEvent(items) ? newEventId() : undefined;
  if (event.payload.byteLength > maxEventBytes) return newEventId();
  // What can't be read here is said to be so by whoever reads the event.
  return readEventId(readEventFields(event.payload, true)?.eventId) ?? newEventId();
}

/** @throws EnvelopeRefusal */
export function checkDepth(headers: Record<string, unknown>): Record<string, unknown> {
  if (isDeeper(headers, MAX_HEADER_DEPTH)) throw new EnvelopeRefusal('invalid_envelope');
  return headers;
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (levels === 0) return true;
  for (const key in value) if (isDeeper(value[key as keyof typeof value], levels - 1)) return true;
  return false;
}

function readItems(body: Buffer, from: number): Item[] {
  const items: Item[] = [];
  let at = from;
  for (;;) {
    while (body[at] === LINE_FEED) at++;
    if (at >= body.length) return items;
    if (items.length === MAX_ITEMS) throw new EnvelopeRefusal('too_many_items');
    const headerEnd = lineEnd(body, at);
    const { type, length, content_type, filename, attachment_type, ...headers } = readHeader(body, at, headerEnd);
    if (typeof type !== 'string' || type === '') throw new EnvelopeRefusal('invalid_envelope');
    const payloadFrom = Math.min(headerEnd + 1, body.length);
    const payloadEnd = endOfPayload(body, payloadFrom, length);
    items.push({
      type,
      contentType: textOf(content_type),
      filename: textOf(filename),
      attachmentType: textOf(attachment_type),
      headers: checkDepth(headers),
      payload: body.subarray(payloadFrom, payloadEnd),
    });
    at = payloadEnd + 1;
  }
}

function endOfPayload(body: Buffer, from: number, length: unknown): number {
  if (length === undefined || length === null) return lineEnd(body, from);
  if (typeof length !== 'number' || !Number.isInteger(length) || length < 0) {
    throw new EnvelopeRefusal('invalid_envelope');
  }
  const end = from + length;
  if (end > body.length || (end < body.length && body[end] !== LINE_FEED)) {
    throw new EnvelopeRefusal('invalid_envelope');
  }
  return end;
}

/** Where the line that begins at `from` ends: at its line feed, or with the body. */
function lineEnd(body: Buffer, from: number): number {
  const end = body.indexOf(LINE_FEED, from);
  return end < 0 ? body.length : end;
}

function readHeader(body: Buffer, from: number, end: number): Record<string, unknown> {
  if (end - from > MAX_HEADER_LINE_BYTES) throw new EnvelopeRefusal('invalid_envelope');
  let json: unknown;
  try {
    json = JSON.parse(body.toString('utf8', from, end));
  } catch (cause) {
    throw new EnvelopeRefusal('invalid_envelope', { cause });
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw new EnvelopeRefusal('invalid_envelope');
  return json as Record<string, unknown>;
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function readTime(value: unknown): number | undefined {
  return typeof value === 'string' && value.length <= 64 ? sentAtOf(Date.parse(value)) : undefined;
}

/** From 1970 to the year 9999: what moves times by more makes none of them. */
const MAX_SENT_AT_MS = 253_402_300_799_999;

/** What is no time is as if it weren't there: it only corrects clocks. */
export function sentAtOf(ms: number): number | undefined {
  return ms >= 0 && ms <= MAX_SENT_AT_MS ? ms : undefined;
}
