import type { JWTPayload } from 'jose';
import type { KeySource } from './key-source.ts';
import { readChannelId, readChannelIds, readOrgId } from './token-claims.ts';
import {
  createTokenVerifier,
  type TokenResult,
  type TokenVerifier,
  type TokenVerifierOptions,
} from './token-verifier.ts';

/** What a listener's token allows: to listen to one channel of one organization, or to several. */
export interface StreamClaims {
  readonly orgId: bigint;
  /** A UUID in lower case. One of this and `channelIds` is there. */
  readonly channelId?: string;
  /** The same, of several; `channelId` need not be among them. */
  readonly channelIds?: readonly string[];
  readonly expiresAtMs: number;
  readonly tokenId?: string;
  readonly issuedAtMs?: number;
  /** Whether its holder may cancel the stream. */
  readonly mayCancel?: boolean;
}

export type StreamTokenResult = TokenResult<StreamClaims>;
export type StreamTokenVerifier = TokenVerifier<StreamClaims>;

/** Verifies the tokens that listeners bring. `org_id`, `channel_id` or `channel_ids`, `iss`, `aud` and `exp` are required. */
export function createStreamTokenVerifier(options: TokenVerifierOptions & { keys: KeySource }): StreamTokenVerifier {
  return createTokenVerifier([options.keys], readClaims, options);
}

function readClaims(payload: JWTPayload, expiresAtMs: number): StreamClaims | undefined {
  const orgId = readOrgId(payload['org_id']);
  const channelId = readChannelId(payload['channel_id']);
  const channelIds = readChannelIds(payload['channel_ids']);
  if (typeof orgId !== 'bigint' || channelId === 'malformed' || channelIds === 'malformed') return undefined;
  if (channelId === undefined && channelIds === undefined) return undefined;
  const { jti, iat, cancel } = payload;
  return {
    orgId,
    expiresAtMs,
    ...(channelId !== undefined && { channelId }),
    ...(channelIds !== undefined && { channelIds }),
    ...(typeof jti === 'string' && { tokenId: jti }),
    ...(typeof iat === 'number' && { issuedAtMs: iat * 1000 }),
    ...(cancel === true && { mayCancel: true }),
  };
}
