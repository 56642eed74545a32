import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type RenewTokenRequest,
  RenewTokenRequestSchema,
  type RenewTokenResponseSchema,
} from '#gen/tideway/stream/v1/stream_service_pb.ts';
import type { StreamClaims } from '#lib/auth/stream-token.ts';
import { type Decisions, type NewDecision, type TokenKey, tokenKey } from '#lib/broker/decisions.ts';
import type { Gate } from '#lib/server/gate.ts';
import { invalidField, Refusal } from '#lib/server/refusal.ts';
import { channelsOf, decisionsAway, renewalDetail } from './token-decisions.ts';
import type { TokenHolds } from './token-holds.ts';

const MIN_REMEMBERED_MS = 60_000;
const MAX_REMEMBERED_MS = 24 * 60 * 60 * 1000;
/**
 * Other tokens that one may be presented for, while that is remembered: more than it can be for channels. All processes are told
 * of each, and anybody with a token can make some.
 */
export const MAX_PRESENTED = 256;

export interface RenewTokenOptions {
  readonly gate: Gate;
  readonly presentations: Presentations;
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
  { gate, presentations, holds }: RenewTokenOptions,
): Promise<MessageInitShape<typeof RenewTokenResponseSchema>> {
  gate.validate(RenewTokenRequestSchema, request);
  const { orgId, channelId, previousTokenId } = request;
  gate.requireClaims(claims, orgId, channelId);
  const { tokenId, issuedAtMs, expiresAtMs } = claims;
  if (tokenId === undefined) throw invalidField('authorization', 'the token needs an id, the claim jti');
  if (tokenId === previousTokenId) throw invalidField('previous_token_id', "must be another token's");
  await holds.check(claims);
  const token = tokenKey(orgId, tokenId);
  const detail = renewalDetail({ channels: new Set(channelsOf(claims)), token, issuedAtMs, expiresAtMs });
  const rememberedMs = Math.min(Math.max(expiresAtMs - Date.now(), MIN_REMEMBERED_MS), MAX_REMEMBERED_MS);
  const renewal = { kind: 'token_renewed', about: tokenKey(orgId, previousTokenId), detail } as const;
  await presentations.present(token, renewal, rememberedMs).catch(decisionsAway);
  return {};
}

/** Presents tokens for others, within {@link MAX_PRESENTED}. */
export class Presentations {
  readonly #decisions: Decisions;
  readonly #underWay = new Map<string, Promise<void>>();

  constructor(decisions: Decisions) {
    this.#decisions = decisions;
  }

  /** @throws Refusal `rate_limited` @throws BrokerUnavailableError */
  async present(token: TokenKey, renewal: NewDecision, forMs: number): Promise<void> {
    const key = `${renewal.about} ${renewal.detail}`;
    const before = this.#underWay.get(key);
    if (before !== undefined) {
      // Many with one token are told in the same moment that it ends, and present the same: found to be new by all of them, it
      // would be counted, and told, for each. Afterwards each looks for itself, as what was presented since may count.
      await before.catch(() => undefined);
      return this.#present(token, renewal, forMs);
    }
    const presenting = this.#present(token, renewal, forMs).finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, presenting);
    return presenting;
  }

  async #present(token: TokenKey, renewal: NewDecision, forMs: number): Promise<void> {
    const decisions = this.#decisions;
    const [known, since] = await decisions.find([renewal, { kind: 'token_renewed', about: token }]);
    if (known?.detail === renewal.detail && since === undefined) {
      // Presented again, by many with one token perhaps: of what counts already nobody is told who was told.
      await decisions.make(known, forMs);
      return;
    }
    const retryAfterMs = await decisions.count(token, MAX_PRESENTED, forMs);
    if (retryAfterMs !== undefined) {
      throw new Refusal('rate_limited', { text: 'This token was presented for too many others', retryAfterMs });
    }
    await decisions.make(renewal, forMs);
  }
}
