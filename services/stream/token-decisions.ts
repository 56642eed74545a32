import type { StreamClaims } from '#lib/auth/stream-token.ts';
import { BrokerUnavailableError, type ChannelKey, channelKey } from '#lib/broker/broker.ts';
import { type Decision, type Decisions, type Subject, subjectKey, type TokenKey } from '#lib/broker/decisions.ts';
import { Refusal } from '#lib/server/refusal.ts';

/** Of a token that was presented for the open streams of another one. */
export interface RenewedToken {
  /** What it is for: a stream of anything else is not its own. */
  readonly channels: ReadonlySet<ChannelKey>;
  readonly token: TokenKey;
  readonly issuedAtMs: number | undefined;
  readonly expiresAtMs: number;
}

/** What a decision of the kind `token_renewed` has as its detail. */
export function renewalDetail({ channels, token, issuedAtMs, expiresAtMs }: RenewedToken): string {
  return JSON.stringify([[...channels], token, issuedAtMs ?? null, expiresAtMs]);
}

/** Of tokens for several: each response has them, and thousands may have one token, whose claims are remembered, too. */
const severalOf = new WeakMap<StreamClaims, readonly ChannelKey[]>();

export function channelsOf(claims: StreamClaims): readonly ChannelKey[] {
  const { orgId, channelId, channelIds } = claims;
  const one = channelId === undefined ? [] : [channelKey(orgId, channelId)];
  if (channelIds === undefined) return one;
  let all = severalOf.get(claims);
  if (all === undefined) {
    all = [...one, ...channelIds.map((id) => channelKey(orgId, id))];
    severalOf.set(claims, all);
  }
  return all;
}

/** Undefined for what is not ours. */
export function readRenewal({ detail }: Decision): RenewedToken | undefined {
  try {
    const [channels, token, issuedAtMs, expiresAtMs] = JSON.parse(detail);
    return { channels: new Set(channels), token, issuedAtMs: issuedAtMs ?? undefined, expiresAtMs };
  } catch {
    return undefined;
  }
}

/**
 * Whether a revocation takes a token with it. A token says in whole seconds when it was issued: one of the same second may
 * be from before. One that does not say is as old as can be.
 */
export function isRevokedBy({ kind, atMs }: Decision, token: { readonly issuedAtMs?: number | undefined }): boolean {
  if (kind === 'token_revoked') return true;
  return kind === 'channel_revoked' && (token.issuedAtMs === undefined || token.issuedAtMs <= atMs);
}

/** What counts for the subjects of each: of many with the same token or channel it is asked once. @throws BrokerUnavailableError */
export async function findForEach(
  decisions: Decisions,
  subjects: readonly (readonly Subject[])[],
): Promise<(Decision | undefined)[][]> {
  const places = new Map<string, number>();
  const different: Subject[] = [];
  const placeOf = (subject: Subject) => {
    const key = subjectKey(subject);
    const known = places.get(key);
    if (known !== undefined) return known;
    places.set(key, different.length);
    return different.push(subject) - 1;
  };
  const asked = subjects.map((own) => own.map(placeOf));
  const found = await decisions.find(different);
  return asked.map((own) => own.map((place) => found[place]));
}

/** For what decisions throw. @throws Refusal `broker_away` where that is the matter */
export function decisionsAway(error: unknown): never {
  if (!(error instanceof BrokerUnavailableError)) throw error;
  throw new Refusal('broker_away', { text: 'Broker away', retryAfterMs: error.retryAfterMs, cause: error });
}
