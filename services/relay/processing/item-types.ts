import type { DataCategory } from '#lib/ingest/data-category.ts';
import { categoryOf } from './normalize/basics.ts';
import type { Origin } from './normalize/draft.ts';
import type { WorkItem } from './work.ts';

/** What is known to Sentry and isn't stored here, by what it is counted as. */
const UNSUPPORTED: ReadonlyMap<string, DataCategory> = new Map([
  ['session', 'session'],
  ['sessions', 'session'],
  ['profile', 'profile'],
  ['profile_chunk', 'profile'],
  ['replay_event', 'replay'],
  ['replay_recording', 'replay'],
  ['replay_video', 'replay'],
  ['check_in', 'monitor'],
  ['span', 'span'],
  ['otel_span', 'span'],
  ['log', 'log_item'],
  ['otel_log', 'log_item'],
]);

const MAX_COUNT = 100_000;

export function isEvent(type: string): boolean {
  return type === 'event' || type === 'transaction' || isFeedback(type);
}

export function itemCategory(item: WorkItem): DataCategory {
  if (isEvent(item.type)) return categoryOf(eventTypeOf(item));
  if (item.type === 'security' || item.type === 'raw_security') return 'security';
  return item.type === 'user_report' ? 'feedback' : (UNSUPPORTED.get(item.type) ?? 'default');
}

/** Undefined: what the event says itself. */
export function eventTypeOf({ type }: WorkItem): Origin['type'] {
  if (type === 'transaction') return type;
  return isFeedback(type) ? 'feedback' : undefined;
}

function isFeedback(type: string): boolean {
  return type === 'feedback' || type === 'user_report_v2';
}

/** Whether it is something that SDKs send, and that isn't stored here. */
export function isKnown(type: string): boolean {
  return UNSUPPORTED.has(type);
}

/** How many things it says it holds: a batch of logs is one item. */
export function countOf({ headers }: WorkItem): number {
  const count = headers['item_count'];
  return typeof count === 'number' && Number.isInteger(count) && count > 0 && count <= MAX_COUNT ? count : 1;
}
