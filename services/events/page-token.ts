import { createHash } from 'node:crypto';
import type { EventPosition } from '#lib/event-store/event-store.ts';
import { isStorable } from '#lib/event-store/storable-number.ts';
import { invalidField } from '#lib/server/refusal.ts';

const TOKEN = /^([0-9]{1,15})-([0-9]{1,19})-([0-9a-f]{32})-([A-Za-z0-9_-]{16})$/;

/** Says where a page ended, and for which query: it opens nothing, as the query's own conditions hold on every page. */
export function pageTokenOf(position: EventPosition | undefined, query: readonly unknown[]): string {
  if (position === undefined) return '';
  const { receivedMs, projectId, eventId } = position;
  return Buffer.from(`${receivedMs}-${projectId}-${eventId}-${digestOf(query)}`).toString('base64url');
}

/** @throws Refusal where it is none of this query */
export function positionOf(token: string, query: readonly unknown[]): EventPosition | undefined {
  if (token === '') return undefined;
  const [, receivedMs, projectId, eventId, digest] = TOKEN.exec(Buffer.from(token, 'base64url').toString()) ?? [];
  if (
    receivedMs === undefined ||
    projectId === undefined ||
    eventId === undefined ||
    digest !== digestOf(query) ||
    !isStorable(BigInt(projectId))
  ) {
    throw invalidField('page_token', 'must be the next_page_token of the same query');
  }
  return { receivedMs: Number(receivedMs), projectId: BigInt(projectId), eventId };
}

function digestOf(query: readonly unknown[]): string {
  return createHash('sha256').update(query.map(String).join('\n')).digest('base64url').slice(0, 16);
}
