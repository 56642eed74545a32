import type { IncomingHttpHeaders } from 'node:http2';
import { create } from '@bufbuild/protobuf';
import { SubscribeManyRequestSchema } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import type { StreamClaims } from '#lib/auth/stream-token.ts';
import { channelKey } from '#lib/broker/broker.ts';
import { type EntryId, parseEntryId } from '#lib/broker/entry-id.ts';
import { isUuid } from '#lib/ids/uuid.ts';
import { bearer, type Gate, parseOrgId } from '#lib/server/gate.ts';
import { H2Response } from '#lib/server/h2-response.ts';
import type { H2Call, H2Route } from '#lib/server/h2-route.ts';
import { answerError, type HttpCall, type HttpRoute } from '#lib/server/http-route.ts';
import { forgetHead, headerOf } from '#lib/server/node-http.ts';
import { invalidField, Refusal } from '#lib/server/refusal.ts';
import type { ByteSink, MakeSink } from './byte-sink.ts';
import { OF_SEVERAL, parseCompositeCursor } from './composite-cursor.ts';
import type { ControlNotice, TokenNotice } from './delivery.ts';
import type { Listeners } from './listeners.ts';
import { subscribeMany } from './many-channels.ts';
import { manySseFace } from './many-sse-wire.ts';
import { ResponseSink } from './response-sink.ts';
import { sseFace } from './sse-face.ts';
import { StreamSink } from './stream-sink.ts';
import type { HeldResponse, TokenHolds } from './token-holds.ts';

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
export function eventsRoute(options: EventsOptions): HttpRoute {
  return {
    methods: ['GET'],
    path: EVENTS_PATH,
    cors: true,
    async handle({ request, response, params, query }: HttpCall) {
      const { headers } = request;
      const makeSink: MakeSink = (face) => new ResponseSink(response, face);
      if ((await listen({ orgId: params['org'] ?? '', query, headers, makeSink }, options)) === 'at_end') {
        response.writeHead(204);
        response.end();
      } else {
        forgetHead(request);
      }
    },
  };
}

/** The same on h2. */
export function eventsOnH2(options: EventsOptions): H2Route {
  return {
    takes: (headers) => headers[':method'] === 'GET' && headers[':path']?.startsWith('/events/') === true,
    handle(call) {
      const { stream, headers, pass } = call;
      const [path = '', query = ''] = splitAt(headers[':path'] ?? '', '?');
      const orgId = EVENTS_PATH.exec(path)?.groups?.['org'];
      // A body that comes after all has a deadline there.
      if (orgId === undefined || !stream.endAfterHeaders) pass();
      else void answerOnH2(call, { orgId, query: new URLSearchParams(query), headers }, options);
    },
  };
}

const EVENTS_PATH = /^\/events\/(?<org>[^/]+)\/?$/;

async function answerOnH2(
  { stream, laneOf }: Pick<H2Call, 'stream' | 'laneOf'>,
  request: EventsRequest,
  options: EventsOptions,
): Promise<void> {
  const makeSink: MakeSink = (face) => new StreamSink({ stream, laneOf }, face, CORS);
  try {
    const joined = await listen({ ...request, makeSink }, options);
    if (joined === 'at_end' && !stream.destroyed) stream.respond({ ':status': 204, ...CORS }, { endStream: true });
  } catch (error) {
    const response = new H2Response(stream);
    for (const [name, value] of Object.entries(CORS)) response.setHeader(name, value);
    answerError(response, error, options.onError);
  }
}

const CORS = { 'access-control-allow-origin': '*' };

export interface EventsOptions {
  readonly gate: Gate;
  readonly listeners: Listeners;
  readonly holds: TokenHolds;
  readonly onError: (error: unknown) => void;
}

interface EventsRequest {
  readonly orgId: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
}

/**
 * What lasts as long as its listener must hold on to nothing of the request: no closure that is made in here outlives it.
 * @throws Refusal with nothing written
 */
async function listen(
  { orgId: org, query, headers, makeSink }: EventsRequest & { readonly makeSink: MakeSink },
  { gate, listeners, holds }: EventsOptions,
): Promise<'following' | 'at_end' | 'told'> {
  const orgId = parseOrgId(org, 'org_id');
  const lastEventId = headerOf({ headers }, 'last-event-id') ?? query.get('last_event_id') ?? '';
  const channelIds = severalOf(query);
  const { sink, begin } =
    channelIds === undefined
      ? one(makeSink, query.get('channel_id') ?? '', lastEventId)
      : several(makeSink, channelIds, lastEventId);
  const token = query.get('token') ?? bearer(headerOf({ headers }, 'authorization'));
  const wantsControls = query.get('controls') === '1';
  try {
    const claims = await gate.authenticateListener(token);
    const wantsDrainNotice = wantsControls ? always : endsSoon(claims.expiresAtMs);
    return await holds.hold(claims, new EventsResponse(sink, wantsControls), () =>
      begin({ orgId, claims, wantsDrainNotice, gate, listeners }),
    );
  } catch (error) {
    if (!(error instanceof Refusal) || error.retryAfterMs === undefined) throw error;
    sink.fail('unavailable');
    return 'told';
  }
}

function always(): boolean {
  return true;
}

function endsSoon(expiresAtMs: number): () => boolean {
  return () => expiresAtMs - Date.now() < TOKEN_ENDS_SOON_MS;
}

/** Who asks, once that is known. */
interface Asking {
  readonly orgId: bigint;
  readonly claims: StreamClaims;
  readonly wantsDrainNotice: () => boolean;
  readonly gate: Gate;
  readonly listeners: Listeners;
}

type SpeakingSink = ByteSink<{ control(notice: ControlNotice, cursor: undefined): Uint8Array }>;

/** What is asked for. */
interface Asked {
  readonly sink: SpeakingSink;
  begin(by: Asking): Promise<'following' | 'at_end'>;
}

/** @throws Refusal */
function one(makeSink: MakeSink, channelId: string, lastEventId: string): Asked {
  if (!isUuid(channelId)) throw invalidField('channel_id', 'must be a UUID');
  const cursor = cursorOf(lastEventId);
  const sink = makeSink(sseFace);
  return {
    sink,
    begin({ orgId, claims, wantsDrainNotice, gate, listeners }) {
      gate.requireClaims(claims, orgId, channelId);
      const channel = channelKey(orgId, channelId);
      return listeners.join({ channel, cursor, wire: sink.wire, sink, wantsDrainNotice });
    },
  };
}

/** @throws Refusal */
function several(makeSink: MakeSink, channelIds: string[], cursor: string): Asked {
  if (parseCompositeCursor(cursor, []) === undefined) throw invalidField('last_event_id', OF_SEVERAL);
  const sink = makeSink(manySseFace);
  return {
    sink,
    begin({ orgId, claims, wantsDrainNotice, gate, listeners }) {
      const request = create(SubscribeManyRequestSchema, { orgId, channelIds, cursor });
      return subscribeMany(request, claims, { wire: sink.wire, sink, wantsDrainNotice }, gate, listeners);
    },
  };
}

/** Tells a listener of events about its token, in the words that it knows. */
class EventsResponse implements HeldResponse {
  readonly sink: SpeakingSink;
  readonly #wantsControls: boolean;

  constructor(sink: SpeakingSink, wantsControls: boolean) {
    this.sink = sink;
    this.#wantsControls = wantsControls;
  }

  tell(notice: TokenNotice): void {
    const said = this.#wantsControls ? notice : inConduitsWords(notice);
    if (said !== undefined) this.sink.write(this.sink.wire.control(said, undefined));
  }
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

function splitAt(text: string, separator: string): [string, string?] {
  const at = text.indexOf(separator);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + separator.length)];
}
