import type { JWTPayload } from 'jose';
import type { KeySource } from './key-source.ts';
import { readChannelId, readOrgId } from './token-claims.ts';
import {
  createTokenVerifier,
  type TokenResult,
  type TokenVerifier,
  type TokenVerifierOptions,
} from './token-verifier.ts';

/** What a listener's token allows: to listen to one channel of one organization. */
export interface StreamClaims {
  readonly orgId: bigint;
  /** A UUID in lower case. */
  readonly channelId: string;
  readonly expiresAtMs: number;
  readonly tokenId?: string;
  readonly issuedAtMs?: number;
  /** Whether its holder may cancel the stream. */
  readonly mayCancel?: boolean;
}

export type StreamTokenResult = TokenResult<StreamClaims>;
export type StreamTokenVerifier = TokenVerifier<StreamClaims>;

/** Verifies the tokens that listeners bring. `org_id`, `channel_id`, `iss`, `aud` and `exp` are required. */
export function createStreamTokenVerifier(options: TokenVerifierOptions & { keys: KeySource }): StreamTokenVerifier {
  return createTokenVerifier([options.keys], readClaims, options);
}

function readClaims(payload: JWTPayload, expiresAtMs: number): StreamClaims | undefined {
  const orgId = readOrgId(payload['org_id']);
  const channelId = readChannelId(payload['channel_id']);
  if (typeof orgId !== 'bigint' || channelId === undefined || channelId === 'malformed') return undefined;
  const { jti, iat, cancel } = payload;
  return {
    orgId,
    channelId,
    expiresAtMs,
    ...(typeof jti === 'string' && { tokenId: jti }),
    ...(typeof iat === 'number' && { issuedAtMs: iat * 1000 }),
    ...(cancel === true && { mayCancel: true }),
  };
}
