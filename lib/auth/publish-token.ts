import type { JWTPayload } from 'jose';
import type { KeySource } from './key-source.ts';
import { readChannelId, readOrgId } from './token-claims.ts';
import {
  createTokenVerifier,
  type TokenResult,
  type TokenVerifier,
  type TokenVerifierOptions,
} from './token-verifier.ts';

/**
 * What a publisher's token allows: to publish, everywhere or, where it names an organization or a channel, only there.
 * Whoever takes the claims holds the caller to them.
 */
export interface PublishClaims {
  readonly subject?: string;
  readonly orgId?: bigint;
  /** A UUID in lower case. */
  readonly channelId?: string;
  readonly expiresAtMs: number;
}

export type PublishTokenResult = TokenResult<PublishClaims>;
export type PublishTokenVerifier = TokenVerifier<PublishClaims>;

/**
 * Verifies the tokens that publishers bring. `iss`, `aud` and `exp` are required.
 * @param options.keys Of the shared secret, of public keys, or both.
 */
export function createPublishTokenVerifier(
  options: TokenVerifierOptions & { keys: readonly KeySource[] },
): PublishTokenVerifier {
  return createTokenVerifier(options.keys, readClaims, options);
}

// A restriction that can't be read makes the token invalid: taking it for none would widen what the token allows.
function readClaims(payload: JWTPayload, expiresAtMs: number): PublishClaims | undefined {
  const orgId = readOrgId(payload['org_id']);
  const channelId = readChannelId(payload['channel_id']);
  const subject: unknown = payload.sub;
  if (orgId === 'malformed' || channelId === 'malformed') return undefined;
  if (subject !== undefined && typeof subject !== 'string') return undefined;
  return {
    ...(subject !== undefined && { subject }),
    ...(orgId !== undefined && { orgId }),
    ...(channelId !== undefined && { channelId }),
    expiresAtMs,
  };
}
