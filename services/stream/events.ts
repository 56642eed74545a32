import { channelKey } from '#lib/broker/broker.ts';
import { type EntryId, parseEntryId } from '#lib/broker/entry-id.ts';
import { isUuid } from '#lib/ids/uuid.ts';
import { bearer, type Gate, parseOrgId } from '#lib/server/gate.ts';
import type { HttpCall, HttpRoute } from '#lib/server/http-route.ts';
import { forgetHead, headerOf } from '#lib/server/node-http.ts';
import { invalidField, Refusal } from '#lib/server/refusal.ts';
import { ByteSink } from './byte-sink.ts';
import type { Listeners } from './listeners.ts';
import { sseFace } from './sse-face.ts';

/** Tokens that end within this are worth a notice when the server drains: the client needs a new one. */
export const TOKEN_ENDS_SOON_MS = 60_000;

/**
 * Conduit's form: `GET /events/{org_id}?token=…&channel_id=…[&last_event_id=…]`, answered with server-sent events. The
 * token may come as `Authorization: Bearer` instead. `controls=1` asks for `server_draining`.
 *
 * An EventSource gives up for good on any answer but 200, and reconnects for ever after a 200 that ends. So only what
 * trying again can't mend is refused (a bad request, a bad token); a cursor at the end of a sealed stream is a 204, which
 * stops it; and what passes (the broker or the keys are away, the server drains) is a 200 whose `error` event says so.
 */
export function eventsRoute(gate: Gate, listeners: Listeners): HttpRoute {
  return {
    methods: ['GET'],
    path: /^\/events\/(?<org>[^/]+)\/?$/,
    cors: true,
    async handle({ request, response, params, query }: HttpCall) {
      const orgId = parseOrgId(params['org'] ?? '', 'org_id');
      const channelId = query.get('channel_id') ?? '';
      if (!isUuid(channelId)) throw invalidField('channel_id', 'must be a UUID');
      const cursor = cursorOf(headerOf(request, 'last-event-id') ?? query.get('last_event_id') ?? '');
      const token = query.get('token') ?? bearer(headerOf(request, 'authorization'));
      const wantsControls = query.get('controls') === '1';
      const sink = new ByteSink(response, sseFace);
      try {
        const claims = await gate.authenticateListener(token);
        gate.requireClaims(claims, orgId, channelId);
        const joined = await listeners.join({
          channel: channelKey(orgId, channelId),
          cursor,
          wire: sink.wire,
          sink,
          wantsDrainNotice: () => wantsControls || claims.expiresAtMs - Date.now() < TOKEN_ENDS_SOON_MS,
        });
        if (joined === 'at_end') {
          response.writeHead(204);
          response.end();
        } else {
          forgetHead(request);
        }
      } catch (error) {
        if (!(error instanceof Refusal) || error.retryAfterMs === undefined) throw error;
        sink.fail('unavailable');
      }
    },
  };
}

/** @throws Refusal for text that cannot be an id. An empty one is none. */
function cursorOf(text: string): EntryId | undefined {
  if (text === '') return undefined;
  const cursor = parseEntryId(text);
  if (cursor === undefined) throw invalidField('last_event_id', 'must be an event id, <ms>-<n>');
  return cursor;
}
