import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type RevokeTokensRequest,
  RevokeTokensRequestSchema,
  type RevokeTokensResponseSchema,
} from '#gen/tideway/stream/v1/stream_service_pb.ts';
import type { Principal } from '#lib/auth/principal.ts';
import { type Broker, channelKey } from '#lib/broker/broker.ts';
import { type Subject, tokenKey } from '#lib/broker/decisions.ts';
import { type Gate, parseOrgId } from '#lib/server/gate.ts';
import { decisionsAway } from './token-decisions.ts';

/** Longer than tokens mostly live. */
export const REVOKED_FOR_MS = 24 * 60 * 60 * 1000;

export interface RevokeTokensOptions {
  readonly gate: Gate;
  readonly broker: Broker;
  /** As long as tokens live, at least: afterwards what was revoked is as good as new. */
  readonly revocationMs: number;
}

/**
 * StreamService.RevokeTokens.
 * @param caller who was let in; undefined: anybody may.
 * @throws Refusal
 */
export async function revokeTokens(
  request: RevokeTokensRequest,
  caller: Principal | undefined,
  { gate, broker, revocationMs }: RevokeTokensOptions,
): Promise<MessageInitShape<typeof RevokeTokensResponseSchema>> {
  gate.validate(RevokeTokensRequestSchema, request);
  const orgId = parseOrgId(request.organization, 'organization');
  if (caller !== undefined) await gate.requireScope(caller, orgId, 'streams:start');
  const subject = subjectOf(orgId, request);
  await broker.decisions.make({ ...subject, detail: '' }, revocationMs).catch(decisionsAway);
  return {};
}

function subjectOf(orgId: bigint, { tokens }: RevokeTokensRequest): Subject {
  return tokens.case === 'channelId'
    ? { kind: 'channel_revoked', about: channelKey(orgId, tokens.value) }
    : { kind: 'token_revoked', about: tokenKey(orgId, tokens.value ?? '') };
}
