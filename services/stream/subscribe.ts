import type { SubscribeRequest, SubscribeResponse } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { SubscribeRequestSchema } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import type { StreamClaims } from '#lib/auth/stream-token.ts';
import { channelKey } from '#lib/broker/broker.ts';
import { parseEntryId } from '#lib/broker/entry-id.ts';
import type { Gate } from '#lib/server/gate.ts';
import { invalidField } from '#lib/server/refusal.ts';
import type { Sink, Wire } from './delivery.ts';
import type { Listeners } from './listeners.ts';
import { RpcSink } from './rpc-sink.ts';
import { rpcWire } from './rpc-wire.ts';
import { type TokenHolds, tellingAll } from './token-holds.ts';

/**
 * StreamService.Subscribe: the typed face of a channel, by the same ids as the events of the HTTP form. Nothing is
 * written to the sink if this throws or answers `at_end`.
 * @throws Refusal
 */
export function subscribe<T>(
  request: SubscribeRequest,
  claims: StreamClaims,
  to: { readonly wire: Wire<T>; readonly sink: Sink<T> },
  gate: Gate,
  listeners: Listeners,
): Promise<'following' | 'at_end'> {
  gate.validate(SubscribeRequestSchema, request);
  gate.requireClaims(claims, request.orgId, request.channelId);
  const cursor = request.lastEventId === '' ? undefined : parseEntryId(request.lastEventId);
  if (cursor === undefined && request.lastEventId !== '') throw invalidField('last_event_id', 'must be an event id');
  return listeners.join({
    channel: channelKey(request.orgId, request.channelId),
    cursor,
    ...to,
    // Every typed client knows the control: it is in the contract.
    wantsDrainNotice: () => true,
  });
}

/** The same as connect-node has it, for the calls that subscribe-calls.ts does not answer. */
export async function* subscribeResponses(
  request: SubscribeRequest,
  claims: StreamClaims,
  signal: AbortSignal,
  gate: Gate,
  listeners: Listeners,
  holds: TokenHolds,
): AsyncGenerator<SubscribeResponse> {
  const sink = new RpcSink(signal);
  const begin = () => subscribe(request, claims, { wire: rpcWire, sink }, gate, listeners);
  if ((await holds.hold(claims, tellingAll(sink, rpcWire), begin)) === 'at_end') return;
  try {
    yield* sink.responses();
  } finally {
    sink.onGone();
  }
}
