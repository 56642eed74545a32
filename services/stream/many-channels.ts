import type { SubscribeManyRequest, SubscribeManyResponse } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { SubscribeManyRequestSchema } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import type { StreamClaims } from '#lib/auth/stream-token.ts';
import { channelKey } from '#lib/broker/broker.ts';
import type { Gate } from '#lib/server/gate.ts';
import { invalidField } from '#lib/server/refusal.ts';
import { OF_SEVERAL, parseCompositeCursor } from './composite-cursor.ts';
import type { Sink } from './delivery.ts';
import type { Listeners } from './listeners.ts';
import { ManyListener } from './many-listener.ts';
import { manyRpcWire } from './many-rpc-wire.ts';
import type { ManyWire } from './many-wire.ts';
import { RpcSink } from './rpc-sink.ts';
import { type TokenHolds, tellingAll } from './token-holds.ts';

/** How a listener of several channels is written to. */
export interface ManyWay<T> {
  readonly wire: ManyWire<T>;
  readonly sink: Sink<T>;
  readonly wantsDrainNotice: () => boolean;
}

/**
 * Several channels over one connection: SubscribeMany, and the same as events. Nothing is written to the sink if this
 * throws or answers `at_end`.
 * @throws Refusal
 */
export function subscribeMany<T>(
  request: SubscribeManyRequest,
  claims: StreamClaims,
  way: ManyWay<T>,
  gate: Gate,
  listeners: Listeners,
): Promise<'following' | 'at_end'> {
  gate.validate(SubscribeManyRequestSchema, request);
  const { orgId } = request;
  const channels = differentChannels(request.channelIds).map((id) => ({ id, key: channelKey(orgId, id) }));
  for (const { id } of channels) gate.requireClaims(claims, orgId, id);
  const cursors = parseCompositeCursor(
    request.cursor,
    channels.map(({ key }) => key),
  );
  if (cursors === undefined) throw invalidField('cursor', OF_SEVERAL);
  return listeners.admit(way, (options) => new ManyListener({ ...options, wire: way.wire, channels, cursors }));
}

/** SubscribeMany as connect-node has it, for the calls that subscribe-calls.ts does not answer. */
export async function* subscribeManyResponses(
  request: SubscribeManyRequest,
  claims: StreamClaims,
  signal: AbortSignal,
  gate: Gate,
  listeners: Listeners,
  holds: TokenHolds,
): AsyncGenerator<SubscribeManyResponse> {
  const sink = new RpcSink<SubscribeManyResponse>(signal);
  const way = { wire: manyRpcWire, sink, wantsDrainNotice: () => true };
  const begin = () => subscribeMany(request, claims, way, gate, listeners);
  if ((await holds.hold(claims, tellingAll(sink, manyRpcWire), begin)) === 'at_end') return;
  try {
    yield* sink.responses();
  } finally {
    sink.onGone();
  }
}

/** In lower case. The contract compares them as they are written. @throws Refusal */
export function differentChannels(channelIds: readonly string[]): string[] {
  const different = new Set(channelIds.map((id) => id.toLowerCase()));
  if (different.size < channelIds.length) throw invalidField('channel_ids', 'must be different channels');
  return [...different];
}
