import { create } from '@bufbuild/protobuf';
import { SubscribeManyRequestSchema } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import type { StreamClaims } from '#lib/auth/stream-token.ts';
import { channelKey } from '#lib/broker/broker.ts';
import { type EntryId, parseEntryId } from '#lib/broker/entry-id.ts';
import { isUuid } from '#lib/ids/uuid.ts';
import { bearer, type Gate, parseOrgId } from '#lib/server/gate.ts';
import type { HttpCall, HttpRoute } from '#lib/server/http-route.ts';
import { forgetHead, headerOf, type NodeServerResponse } from '#lib/server/node-http.ts';
import { invalidField, Refusal } from '#lib/server/refusal.ts';
import { ByteSink } from './byte-sink.ts';
import { OF_SEVERAL, parseCompositeCursor } from './composite-cursor.ts';
import type { ControlNotice, TokenNotice } from './delivery.ts';
import type { Listeners } from './listeners.ts';
import { subscribeMany } from './many-channels.ts';
import { manySseFace } from './many-sse-wire.ts';
import { sseFace } from './sse-face.ts';
import type { TokenHolds } from './token-holds.ts';

/** Tokens that end within this are worth a notice when the server drains: the client needs a new one. */
export const TOKEN_ENDS_SOON_MS = 60_000;

/**
 * Conduit's form: `GET /events/{org_id}?token=…&channel_id=…[&last_event_id=…]`, answered with server-sent events. The
 * token may come as `Authorization: Bearer` instead. `controls=1` asks for `server_draining`.
 *
 * With several channels (`channel_ids=…,…`, or any of the two names more than once) events have no ids of their own: one
 * stands by itself behind what belongs together, and is the cursor for all of them.
 *
 * An EventSource gives up for good on any answer but 200, and reconnects for ever after a 200 that ends. So only what
 * trying again can't mend is refused (a bad request, a bad token); a cursor at the end of a sealed stream is a 204, which
 * stops it; and what passes (the broker or the keys are away, the server drains) is a 200 whose `error` event says so.
 */
export function eventsRoute(gate: Gate, listeners: Listeners, holds: TokenHolds): HttpRoute {
  return {
    methods: ['GET'],
    path: /^\/events\/(?<org>[^/]+)\/?$/,
    cors: true,
    async handle({ request, response, params, query }: HttpCall) {
      const orgId = parseOrgId(params['org'] ?? '', 'org_id');
      const lastEventId = headerOf(request, 'last-event-id') ?? query.get('last_event_id') ?? '';
      const channelIds = severalOf(query);
      const { sink, tell, begin } =
        channelIds === undefined
          ? one(response, query.get('channel_id') ?? '', lastEventId)
          : several(response, channelIds, lastEventId);
      const token = query.get('token') ?? bearer(headerOf(request, 'authorization'));
      const wantsControls = query.get('controls') === '1';
      try {
        const claims = await gate.authenticateListener(token);
        const wantsDrainNotice = () => wantsControls || claims.expiresAtMs - Date.now() < TOKEN_ENDS_SOON_MS;
        const held = {
          sink,
          tell(notice: TokenNotice) {
            const said = wantsControls ? notice : inConduitsWords(notice);
            if (said !== undefined) tell(said);
          },
        };
        const joined = await holds.hold(claims, held, () =>
          begin({ orgId, claims, wantsDrainNotice, gate, listeners }),
        );
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

/** Who asks, once that is known. */
interface Asking {
  readonly orgId: bigint;
  readonly claims: StreamClaims;
  readonly wantsDrainNotice: () => boolean;
  readonly gate: Gate;
  readonly listeners: Listeners;
}

/** What is asked for. */
interface Asked {
  readonly sink: Pick<ByteSink, 'fail' | 'end' | 'onGone' | 'isGone'>;
  /** Beside the stream. */
  tell(notice: ControlNotice): void;
  begin(by: Asking): Promise<'following' | 'at_end'>;
}

/** @throws Refusal */
function one(response: NodeServerResponse, channelId: string, lastEventId: string): Asked {
  if (!isUuid(channelId)) throw invalidField('channel_id', 'must be a UUID');
  const cursor = cursorOf(lastEventId);
  const sink = new ByteSink(response, sseFace);
  return {
    sink,
    tell: (notice) => void sink.write(sink.wire.control(notice, undefined)),
    begin({ orgId, claims, wantsDrainNotice, gate, listeners }) {
      gate.requireClaims(claims, orgId, channelId);
      const channel = channelKey(orgId, channelId);
      return listeners.join({ channel, cursor, wire: sink.wire, sink, wantsDrainNotice });
    },
  };
}

/** @throws Refusal */
function several(response: NodeServerResponse, channelIds: string[], cursor: string): Asked {
  if (parseCompositeCursor(cursor, []) === undefined) throw invalidField('last_event_id', OF_SEVERAL);
  const sink = new ByteSink(response, manySseFace);
  return {
    sink,
    tell: (notice) => void sink.write(sink.wire.control(notice)),
    begin({ orgId, claims, wantsDrainNotice, gate, listeners }) {
      const request = create(SubscribeManyRequestSchema, { orgId, channelIds, cursor });
      return subscribeMany(request, claims, { wire: sink.wire, sink, wantsDrainNotice }, gate, listeners);
    },
  };
}

/**
 * What a listener hears of its token that asks for no controls: that it needs a new one, as when a server drains. A revoked
 * one it does not get anything for: it reconnects, and is refused.
 */
function inConduitsWords({ type }: TokenNotice): ControlNotice | undefined {
  return type === 'token_ended' ? { type: 'server_draining' } : undefined;
}

/** Undefined: Conduit's form, with one. */
function severalOf(query: URLSearchParams): string[] | undefined {
  const single = query.getAll('channel_id');
  const lists = query.getAll('channel_ids');
  if (lists.length === 0 && single.length < 2) return undefined;
  return [...single, ...lists.flatMap((list) => list.split(','))];
}

/** @throws Refusal for text that cannot be an id. An empty one is none. */
function cursorOf(text: string): EntryId | undefined {
  if (text === '') return undefined;
  const cursor = parseEntryId(text);
  if (cursor === undefined) throw invalidField('last_event_id', 'must be an event id, <ms>-<n>');
  return cursor;
}
