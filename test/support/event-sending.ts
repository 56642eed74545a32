import { randomBytes } from 'node:crypto';
import { ask, type RawAnswer } from './raw-request.ts';

/** Where an SDK sends to, and as whom. */
export interface Dsn {
  /** The edge, or a relay's own port. */
  readonly url: string;
  readonly projectId: string;
  readonly key: string;
}

export function newEventId(): string {
  return randomBytes(16).toString('hex');
}

export function authHeader(key: string): string {
  return `Sentry sentry_version=7, sentry_key=${key}, sentry_client=tideway.test/1.0`;
}

/** An event as a Python application reports it. */
export function eventJson(id: string, event: object = {}): string {
  return JSON.stringify({
    event_id: id,
    platform: 'python',
    level: 'error',
    exception: { values: [{ type: 'ValueError', value: `no ${id}` }] },
    ...event,
  });
}

/** An envelope of one event, as SDKs make them. */
export function eventEnvelope(id: string, event: object = {}): Buffer {
  const payload = eventJson(id, event);
  return envelopeOf(id, [{ header: { type: 'event', length: Buffer.byteLength(payload) }, payload }]);
}

export function envelopeOf(
  id: string,
  items: readonly { readonly header: object; readonly payload: string | Uint8Array }[],
  header: object = {},
): Buffer {
  const parts = items.flatMap(({ header, payload }) => [`${JSON.stringify(header)}\n`, payload, '\n']);
  return Buffer.concat([JSON.stringify({ event_id: id, ...header }), '\n', ...parts].map((part) => Buffer.from(part)));
}

/** Sends one event on a connection of its own. */
export async function sendEvent(
  { url, projectId, key }: Dsn,
  event: object = {},
  id = newEventId(),
): Promise<{ readonly id: string; readonly answer: RawAnswer }> {
  const answer = await ask(`${url}/api/${projectId}/envelope/`, {
    method: 'POST',
    headers: { 'X-Sentry-Auth': authHeader(key), 'Content-Type': 'application/x-sentry-envelope' },
    body: eventEnvelope(id, event),
  });
  return { id, answer };
}
