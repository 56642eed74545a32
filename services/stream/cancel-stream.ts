import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type CancelStreamRequest,
  CancelStreamRequestSchema,
  type CancelStreamResponseSchema,
} from '#gen/tideway/stream/v1/stream_service_pb.ts';
import type { StreamClaims } from '#lib/auth/stream-token.ts';
import { type Broker, channelKey } from '#lib/broker/broker.ts';
import { CANCELLED_FOR_MS } from '#lib/broker/decisions.ts';
import type { Gate } from '#lib/server/gate.ts';
import { Refusal } from '#lib/server/refusal.ts';
import { decisionsAway } from './token-decisions.ts';
import type { TokenHolds } from './token-holds.ts';

/**
 * StreamService.CancelStream: says to whoever produces the stream that it should stop, now or when it begins.
 * @throws Refusal
 */
export async function cancelStream(
  request: CancelStreamRequest,
  claims: StreamClaims,
  { gate, broker, holds }: { readonly gate: Gate; readonly broker: Broker; readonly holds: TokenHolds },
): Promise<MessageInitShape<typeof CancelStreamResponseSchema>> {
  gate.validate(CancelStreamRequestSchema, request);
  gate.requireClaims(claims, request.orgId, request.channelId);
  if (claims.mayCancel !== true) throw new Refusal('cancel_not_allowed');
  await holds.check(claims);
  const { orgId, channelId, reason } = request;
  const about = channelKey(orgId, channelId);
  await broker.decisions.make({ kind: 'cancelled', about, detail: reason }, CANCELLED_FOR_MS).catch(decisionsAway);
  return {};
}
