import type { ActiveLimit } from '#lib/limits/limits.ts';
import type { NodeServerResponse } from '#lib/server/node-http.ts';
import { CORS_HEADERS, PREFLIGHT_HEADERS } from './cors.ts';
import type { EnvelopeRefusal } from './envelope-refusal.ts';
import type { Accepted } from './intake.ts';
import { formatRateLimits, RATE_LIMITS_HEADER, retryAfterSec } from './rate-limit-header.ts';

/** What HTTP clients are answered. Header lists are made once: of an answer nothing else is the same every time. */

const JSON_TYPE = ['content-type', 'application/json'] as const;

/** When to come back if too much waits here. Short: browsers' SDKs drop what they would have sent meanwhile. */
export const OVERLOADED_RETRY_AFTER_SEC = 1;

export const REFUSED_DETAILS = {
  project_disabled: 'nothing is taken with this key',
  project_id: 'the key is not of this project',
  origin: 'this origin may not send to this project',
} as const;

const ID_HEADERS = [...CORS_HEADERS, ...JSON_TYPE, 'content-length', '41'];

export function sendId(response: NodeServerResponse, eventId: string | undefined): void {
  if (eventId === undefined) send(response, 200, JSON_TYPE, '{}');
  else writeHead(response, 200, ID_HEADERS).end(`{"id":"${eventId}"}`);
}

export function sendText(response: NodeServerResponse, text: string): void {
  send(response, 200, ['content-type', 'text/plain; charset=utf-8'], text);
}

export function sendEmpty(response: NodeServerResponse, status: number): void {
  send(response, status, [], '');
}

/** What a page shows that sent an event by loading an image: one transparent pixel. */
export function sendPixel(response: NodeServerResponse): void {
  send(response, 200, ['content-type', 'image/gif'], PIXEL);
}

const PIXEL = Buffer.from('R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7', 'base64');

export function sendHealth(response: NodeServerResponse, isHealthy: boolean): void {
  send(response, isHealthy ? 200 : 503, JSON_TYPE, `{"is_healthy":${isHealthy}}`);
}

export function sendPreflight(response: NodeServerResponse): void {
  writeHead(response, 200, PREFLIGHT_HEADERS).end();
}

/** By what the intake says. `success` answers where all was taken. */
export function sendAccepted(response: NodeServerResponse, accepted: Accepted, success: () => void): void {
  switch (accepted.kind) {
    case 'queued':
      if (accepted.limits.length === 0) success();
      else sendLimited(response, accepted.limits);
      break;
    case 'limited':
      sendLimited(response, accepted.limits);
      break;
    case 'refused':
      sendDetail(response, 403, REFUSED_DETAILS[accepted.reason]);
      break;
    case 'overloaded':
      sendDetail(response, 503, 'too much is waiting here', retryAfter(OVERLOADED_RETRY_AFTER_SEC));
      break;
  }
}

function sendLimited(response: NodeServerResponse, limits: readonly ActiveLimit[]): void {
  const nowMs = Date.now();
  const told = [RATE_LIMITS_HEADER, formatRateLimits(limits, nowMs)];
  sendDetail(response, 429, 'over a limit', [...retryAfter(retryAfterSec(limits, nowMs)), ...told]);
}

export function sendRefusal(
  response: NodeServerResponse,
  refusal: EnvelopeRefusal,
  more: readonly string[] = [],
): void {
  const causes = refusal.item === undefined ? [] : [`of the item ${refusal.item}`];
  const retry = refusal.passes ? retryAfter(OVERLOADED_RETRY_AFTER_SEC) : [];
  sendDetail(response, refusal.status, refusal.message, [...retry, ...more], causes);
}

/** Sentry's form of an error. `detail` is one of our own sentences, and so fits a header. */
function sendDetail(
  response: NodeServerResponse,
  status: number,
  detail: string,
  more: readonly string[] = [],
  causes: readonly string[] = [],
): void {
  if (response.headersSent) return;
  send(response, status, [...JSON_TYPE, 'x-sentry-error', detail, ...more], JSON.stringify({ detail, causes }));
}

function retryAfter(seconds: number): readonly string[] {
  return ['retry-after', String(seconds)];
}

function send(response: NodeServerResponse, status: number, headers: readonly string[], body: string | Buffer): void {
  const length = String(Buffer.byteLength(body));
  writeHead(response, status, [...CORS_HEADERS, ...headers, 'content-length', length]).end(body);
}

/** A flat list is the form that HTTP/1.1 writes as it is; HTTP/2's response takes it, too. */
function writeHead(response: NodeServerResponse, status: number, headers: readonly string[]): NodeServerResponse {
  return (response as { writeHead(status: number, headers: readonly string[]): NodeServerResponse }).writeHead(
    status,
    headers,
  );
}
