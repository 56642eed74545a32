import type { SubscribeRequest, SubscribeResponse } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { SubscribeRequestSchema } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import type { StreamClaims } from '#lib/auth/stream-token.ts';
import { channelKey } from '#lib/broker/broker.ts';
import { parseEntryId } from '#lib/broker/entry-id.ts';
import type { Gate } from '#lib/server/gate.ts';
import { invalidField } from '#lib/server/refusal.ts';
import type { Listeners } from './listeners.ts';
import { RpcSink } from './rpc-sink.ts';
import { rpcWire } from './rpc-wire.ts';

/** StreamService.Subscribe: the typed face of a channel, by the same ids as the events of the HTTP form. */
export async function* subscribe(
  request: SubscribeRequest,
  claims: StreamClaims,
  signal: AbortSignal,
  gate: Gate,
  listeners: Listeners,
): AsyncGenerator<SubscribeResponse> {
  gate.validate(SubscribeRequestSchema, request);
  gate.requireClaims(claims, request.orgId, request.channelId);
  const cursor = request.lastEventId === '' ? undefined : parseEntryId(request.lastEventId);
  if (cursor === undefined && request.lastEventId !== '') throw invalidField('last_event_id', 'must be an event id');

  const sink = new RpcSink(signal);
  const joined = await listeners.join({
    channel: channelKey(request.orgId, request.channelId),
    cursor,
    wire: rpcWire,
    sink,
    // Every typed client knows the control: it is in the contract.
    wantsDrainNotice: () => true,
  });
  if (joined === 'at_end') return;
  try {
    yield* sink.responses();
  } finally {
    sink.onGone();
  }
}
