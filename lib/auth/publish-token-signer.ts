import { SignJWT } from 'jose';
import { importSecret } from './key-source.ts';
import { writeOrgId } from './token-claims.ts';

export interface PublishTokenSignerOptions {
  /** The setting that holds the secret, for errors. */
  readonly name: string;
  readonly secret: string;
  readonly issuer: string;
  readonly audience: string;
  readonly ttlSec: number;
  readonly now?: () => number;
}

export interface PublishTokenSigner {
  /** Without `orgId` and `channelId` the token is good everywhere. */
  sign(grant: { readonly subject: string; readonly orgId?: bigint; readonly channelId?: string }): Promise<string>;
}

/**
 * Signs publishers' tokens with the shared secret (HS256), for development and the command line: in production the
 * publishers hold the secret and sign for themselves.
 * @throws KeySettingError
 */
export function createPublishTokenSigner(options: PublishTokenSignerOptions): PublishTokenSigner {
  const { issuer, audience, ttlSec, now = Date.now } = options;
  const key = importSecret(options.name, options.secret, 'sign');
  return {
    sign({ subject, orgId, channelId }) {
      const issuedAtSec = Math.floor(now() / 1000);
      return new SignJWT({
        ...(orgId !== undefined && { org_id: writeOrgId(orgId) }),
        ...(channelId !== undefined && { channel_id: channelId.toLowerCase() }),
      })
        .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
        .setSubject(subject)
        .setIssuer(issuer)
        .setAudience(audience)
        .setIssuedAt(issuedAtSec)
        .setExpirationTime(issuedAtSec + ttlSec)
        .sign(key);
    },
  };
}
