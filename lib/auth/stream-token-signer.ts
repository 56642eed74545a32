import { randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import { readPrivateKey } from './key-pem.ts';
import { writeOrgId } from './token-claims.ts';

export interface StreamTokenSignerOptions {
  /** The setting that holds the key, for errors. */
  readonly name: string;
  /** RSA, EC P-256 or Ed25519; the algorithm follows from it. */
  readonly privateKeyPem: string;
  /** The key's `kid`, for verifiers that read a key set. */
  readonly keyId?: string;
  readonly issuer: string;
  readonly audience: string;
  readonly ttlSec: number;
  readonly now?: () => number;
}

export interface StreamGrant {
  readonly orgId: bigint;
  /** One channel, or several. */
  readonly channelId: string | readonly string[];
  /** The holder may cancel the stream. */
  readonly mayCancel?: boolean;
}

export interface StreamTokenSigner {
  /** `channelId` is a valid UUID, or several: callers validate first. */
  sign(grant: StreamGrant): Promise<string>;
}

/**
 * Signs the tokens that listeners bring.
 * @throws KeySettingError
 */
export function createStreamTokenSigner(options: StreamTokenSignerOptions): StreamTokenSigner {
  const { issuer, audience, ttlSec, keyId, now = Date.now } = options;
  const { algorithm, key } = readPrivateKey(options.name, options.privateKeyPem);
  const header = { alg: algorithm, typ: 'JWT', ...(keyId !== undefined && { kid: keyId }) };
  return {
    sign({ orgId, channelId, mayCancel = false }) {
      const issuedAtSec = Math.floor(now() / 1000);
      const channels =
        typeof channelId === 'string'
          ? { channel_id: channelId.toLowerCase() }
          : { channel_ids: channelId.map((id) => id.toLowerCase()) };
      const claims = { org_id: writeOrgId(orgId), ...channels };
      return new SignJWT(mayCancel ? { ...claims, cancel: true } : claims)
        .setProtectedHeader(header)
        .setIssuer(issuer)
        .setAudience(audience)
        .setIssuedAt(issuedAtSec)
        .setExpirationTime(issuedAtSec + ttlSec)
        .setJti(randomUUID())
        .sign(key);
    },
  };
}
