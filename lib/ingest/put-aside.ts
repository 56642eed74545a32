import { decode } from '@msgpack/msgpack';
import { isDataCategory } from './data-category.ts';
import type { Outcome } from './outcome.ts';

/** What is counted for what could not be handled, and is a dead letter now. */
export const PUT_ASIDE = { outcome: 'invalid', reason: 'internal' } as const;

/**
 * What to count for a record of an ingest topic that was put aside: whatever of it can be told. Chunks count for nothing,
 * as whoever names the attachment counts its bytes. A user report counts as feedback, as a stored one does.
 * @param timestampMs when the record was appended: a time that it gives itself may be what is wrong with it.
 */
export function outcomesOfPutAside(value: Uint8Array, timestampMs: number): readonly Outcome[] {
  const map = mapOf(value);
  const type = map['type'];
  if (type === 'attachment_chunk') return [];
  const common = {
    ...PUT_ASIDE,
    timestampMs,
    organizationId: idOf(map['organization_id']),
    projectId: idOf(map['project_id']),
    keyId: idOf(map['key_id']),
    eventId: eventIdOf(map['event_id']),
    remoteAddr: undefined,
  };
  const sizes = sizesOf(type === 'attachment' ? [map['attachment']] : map['attachments']);
  const outcomes: Outcome[] = [];
  if (type !== 'attachment') {
    const name = type === 'user_report' ? 'feedback' : String(map['category']);
    outcomes.push({ ...common, category: isDataCategory(name) ? name : 'default', quantity: 1 });
  }
  if (sizes.length > 0) {
    const bytes = sizes.reduce((sum, size) => sum + size, 0);
    outcomes.push({ ...common, category: 'attachment', quantity: bytes });
    outcomes.push({ ...common, category: 'attachment_item', quantity: sizes.length });
  }
  return outcomes;
}

function mapOf(value: Uint8Array): Record<string, unknown> {
  try {
    const map = decode(value);
    return typeof map === 'object' && map !== null ? (map as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function sizesOf(list: unknown): number[] {
  if (!Array.isArray(list)) return [];
  return list.map((each: unknown) => {
    const size = typeof each === 'object' && each !== null && 'size' in each ? each.size : undefined;
    return countOf(size) ?? 0;
  });
}

function countOf(value: unknown): number | undefined {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : undefined;
}

function idOf(value: unknown): bigint | undefined {
  const count = countOf(value);
  return count === undefined ? undefined : BigInt(count);
}

function eventIdOf(value: unknown): string | undefined {
  return typeof value === 'string' && /^[0-9a-f]{32}$/.test(value) ? value : undefined;
}
