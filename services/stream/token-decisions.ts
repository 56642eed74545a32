import { BrokerUnavailableError, type ChannelKey } from '#lib/broker/broker.ts';
import type { Decision, TokenKey } from '#lib/broker/decisions.ts';
import { Refusal } from '#lib/server/refusal.ts';

/** Of a token that was presented for the open streams of another one. */
export interface RenewedToken {
  /** Whose streams. */
  readonly channel: ChannelKey;
  readonly token: TokenKey;
  readonly issuedAtMs: number | undefined;
  readonly expiresAtMs: number;
}

/** What a decision of the kind `token_renewed` has as its detail. */
export function renewalDetail({ channel, token, issuedAtMs, expiresAtMs }: RenewedToken): string {
  return JSON.stringify([channel, token, issuedAtMs ?? null, expiresAtMs]);
}

/** Undefined for what is not ours. */
export function readRenewal({ detail }: Decision): RenewedToken | undefined {
  try {
    const [channel, token, issuedAtMs, expiresAtMs] = JSON.parse(detail);
    return { channel, token, issuedAtMs: issuedAtMs ?? undefined, expiresAtMs };
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

/** For what decisions throw. @throws Refusal `broker_away` where that is the matter */
export function decisionsAway(error: unknown): never {
  if (!(error instanceof BrokerUnavailableError)) throw error;
  throw new Refusal('broker_away', { text: 'Broker away', retryAfterMs: error.retryAfterMs, cause: error });
}
