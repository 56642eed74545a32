import type { DataCategory } from '#lib/ingest/data-category.ts';
import type { Item } from './envelope.ts';
import { EnvelopeRefusal } from './envelope-refusal.ts';

/** How much may be sent at once, after decompression. */
export interface EnvelopeLimits {
  readonly maxEnvelopeBytes: number;
  /** Of an event, a transaction, a security report, a user's report … */
  readonly maxEventBytes: number;
  /** Of each, and of all of an envelope. */
  readonly maxAttachmentBytes: number;
  readonly maxAttachments: number;
  readonly maxClientReportBytes: number;
  readonly maxClientReports: number;
  readonly maxSessions: number;
}

export const DEFAULT_ENVELOPE_LIMITS: EnvelopeLimits = {
  maxEnvelopeBytes: 200 * 1024 * 1024,
  maxEventBytes: 1024 * 1024,
  maxAttachmentBytes: 200 * 1024 * 1024,
  maxAttachments: 30,
  maxClientReportBytes: 100 * 1024,
  maxClientReports: 100,
  maxSessions: 100,
};

export const MAX_ITEMS = 500;
/** Of the envelope's header, and of each item's. */
export const MAX_HEADER_LINE_BYTES = 64 * 1024;

/** What makes an event of an envelope: there is at most one in it. */
const EVENT_CATEGORIES: Readonly<Record<string, DataCategory>> = {
  event: 'error',
  transaction: 'transaction',
  security: 'security',
  raw_security: 'security',
  feedback: 'feedback',
  user_report_v2: 'feedback',
};

export function isEventItem({ type }: Item): boolean {
  // First what nearly all are.
  return type === 'event' || Object.hasOwn(EVENT_CATEGORIES, type);
}

/** Of an attachment: without an event beside it, it is one. */
export const MINIDUMP = 'event.minidump';

/** Whether an event comes of it: then an answer names its id. */
export function hasEvent(items: readonly Item[]): boolean {
  return items.some((item) => isEventItem(item) || (item.type === 'attachment' && item.attachmentType === MINIDUMP));
}

/** Holds the items of an envelope to the limits of their types. @throws EnvelopeRefusal */
export function checkItems(items: readonly Item[], limits: EnvelopeLimits): void {
  if (items.length > MAX_ITEMS) throw new EnvelopeRefusal('too_many_items');
  let events = 0;
  let attachments = 0;
  let attachmentBytes = 0;
  let clientReports = 0;
  let sessions = 0;
  for (const item of items) {
    const { type, payload } = item;
    if (isEventItem(item)) {
      const category = EVENT_CATEGORIES[type] ?? 'error';
      if (payload.byteLength > limits.maxEventBytes) throw tooLarge(type, category);
      if (++events > 1) throw new EnvelopeRefusal('duplicate_item', { category });
      continue;
    }
    switch (type) {
      case 'attachment':
        attachmentBytes += payload.byteLength;
        if (attachmentBytes > limits.maxAttachmentBytes) throw tooLarge(type, 'attachment_item');
        if (++attachments > limits.maxAttachments) throw tooMany(type, 'attachment_item');
        break;
      case 'client_report':
        if (payload.byteLength > limits.maxClientReportBytes) throw tooLarge(type, 'default');
        if (++clientReports > limits.maxClientReports) throw tooMany(type, 'default');
        break;
      case 'session':
      case 'sessions':
        if (payload.byteLength > limits.maxEventBytes) throw tooLarge(type, 'session');
        if (++sessions > limits.maxSessions) throw tooMany(type, 'session');
        break;
      case 'user_report':
        if (payload.byteLength > limits.maxEventBytes) throw tooLarge(type, 'feedback');
        break;
    }
  }
}

function tooLarge(item: string, category: DataCategory): EnvelopeRefusal {
  return new EnvelopeRefusal('too_large', { item, category });
}

function tooMany(item: string, category: DataCategory): EnvelopeRefusal {
  return new EnvelopeRefusal('too_many_of_a_kind', { item, category });
}
