import type { DataCategory } from '#lib/ingest/data-category.ts';
import type { Outcome, OutcomeName } from '#lib/ingest/outcome.ts';
import type { QuotaOwner } from '#lib/limits/quotas.ts';
import type { Item, Received } from './envelope.ts';

/** What items count as before anybody has looked into them. */
const CATEGORIES: Readonly<Record<string, DataCategory>> = {
  event: 'error',
  transaction: 'transaction',
  security: 'security',
  raw_security: 'security',
  feedback: 'feedback',
  user_report_v2: 'feedback',
  user_report: 'feedback',
  attachment: 'attachment',
  session: 'session',
  sessions: 'session',
  profile: 'profile',
  profile_chunk: 'profile',
  replay_event: 'replay',
  replay_recording: 'replay',
  replay_video: 'replay',
  check_in: 'monitor',
  span: 'span',
  otel_span: 'span',
  log: 'log_item',
  otel_log: 'log_item',
};

const EVENTS = new Set(['event', 'transaction', 'security', 'raw_security', 'feedback', 'user_report_v2']);

/** What becomes an event. */
export function isEvent({ type }: Item): boolean {
  return EVENTS.has(type);
}

/** What goes where its event goes. */
export function belongsToEvent({ type }: Item): boolean {
  return type === 'attachment' || type === 'user_report';
}

/** Undefined: it counts as nothing, as what clients report that they dropped. */
export function categoryOf({ type }: Item): DataCategory | undefined {
  if (type === 'client_report') return undefined;
  return Object.hasOwn(CATEGORIES, type) ? CATEGORIES[type] : 'default';
}

/** By what an event of a category is limited. */
export function limitedAs(category: DataCategory): DataCategory {
  return category === 'default' ? 'error' : category;
}

/** Why something is invalid that is refused as a whole, by Sentry's words. */
export const INVALID_REASONS = {
  project_disabled: 'project_id',
  project_id: 'project_id',
  origin: 'cors',
  project_unavailable: 'project_unavailable',
  internal: 'internal',
  /** More than a record of the log can have. */
  too_large: 'too_large:event',
} as const;

export type InvalidBecause = keyof typeof INVALID_REASONS;

/** What is said of something that was not taken. */
export interface Verdict {
  readonly outcome: OutcomeName;
  readonly reason: string | undefined;
  /** Undefined: the project is not known. */
  readonly owner: QuotaOwner | undefined;
  readonly timestampMs: number;
}

export function outcomeOf(
  { outcome, reason, owner, timestampMs }: Verdict,
  category: DataCategory,
  quantity: number,
  eventId: string | undefined,
): Outcome {
  return {
    timestampMs,
    outcome,
    organizationId: owner?.organizationId,
    projectId: owner?.projectId,
    keyId: owner?.keyId,
    reason,
    eventId,
    // Nobody asks for it, and it is somebody's address.
    remoteAddr: undefined,
    category,
    quantity,
  };
}

/** An attachment counts twice: its bytes, and itself. */
export function attachmentOutcomes(verdict: Verdict, sizeBytes: number, eventId: string | undefined): Outcome[] {
  return [outcomeOf(verdict, 'attachment', sizeBytes, eventId), outcomeOf(verdict, 'attachment_item', 1, eventId)];
}

/** Of an item that nobody has looked into. */
export function itemOutcomes(verdict: Verdict, item: Item, eventId: string | undefined): Outcome[] {
  const category = categoryOf(item);
  if (category === undefined) return [];
  if (category === 'attachment') return attachmentOutcomes(verdict, item.payload.byteLength, eventId);
  return [outcomeOf(verdict, category, 1, eventId)];
}

/** Of an envelope that is refused as a whole. */
export function invalidOutcomes(
  { sender, envelope }: Received,
  owner: QuotaOwner | undefined,
  because: InvalidBecause,
): Outcome[] {
  const { receivedMs: timestampMs } = sender;
  const verdict = { outcome: 'invalid', reason: INVALID_REASONS[because], owner, timestampMs } as const;
  return envelope.items.flatMap((item) => itemOutcomes(verdict, item, envelope.eventId));
}
