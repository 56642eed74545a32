import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type RenewTokenRequest,
  RenewTokenRequestSchema,
  type RenewTokenResponseSchema,
} from '#gen/tideway/stream/v1/stream_service_pb.ts';
import type { StreamClaims } from '#lib/auth/stream-token.ts';
import type { Broker } from '#lib/broker/broker.ts';
import { tokenKey } from '#lib/broker/decisions.ts';
import type { Gate } from '#lib/server/gate.ts';
import { invalidField } from '#lib/server/refusal.ts';
import { channelsOf, decisionsAway, renewalDetail } from './token-decisions.ts';
import type { TokenHolds } from './token-holds.ts';

const MIN_REMEMBERED_MS = 60_000;
const MAX_REMEMBERED_MS = 24 * 60 * 60 * 1000;

export interface RenewTokenOptions {
  readonly gate: Gate;
  readonly broker: Broker;
  readonly holds: TokenHolds;
}

/**
 * StreamService.RenewToken: the open streams of a token are from now on those of the one that this call carries. Whoever
 * knows the id of the one before has had it, and whoever has the new one may listen to the channel anyway.
 * @throws Refusal
 */
export async function renewToken(
  request: RenewTokenRequest,
  claims: StreamClaims,
  { gate, broker, holds }: RenewTokenOptions,
): Promise<MessageInitShape<typeof RenewTokenResponseSchema>> {
  gate.validate(RenewTokenRequestSchema, request);
  const { orgId, channelId, previousTokenId } = request;
  gate.requireClaims(claims, orgId, channelId);
  const { tokenId, issuedAtMs, expiresAtMs } = claims;
  if (tokenId === undefined) throw invalidField('authorization', 'the token needs an id, the claim jti');
  if (tokenId === previousTokenId) throw invalidField('previous_token_id', "must be another token's");
  await holds.check(claims);
  const atMs = Date.now();
  const token = tokenKey(orgId, tokenId);
  const detail = renewalDetail({ channels: channelsOf(claims), token, issuedAtMs, expiresAtMs });
  const rememberedMs = Math.min(Math.max(expiresAtMs - atMs, MIN_REMEMBERED_MS), MAX_REMEMBERED_MS);
  await broker.decisions
    .make({ kind: 'token_renewed', about: tokenKey(orgId, previousTokenId), atMs, detail }, rememberedMs)
    .catch(decisionsAway);
  return {};
}
