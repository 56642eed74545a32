import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { exportJWK, type JWK, type JWTPayload, SignJWT } from 'jose';
import type { AsymmetricAlgorithm } from './key-pem.ts';

/** What tests of tokens share: key pairs, and tokens that are right but for what a test says. */

export interface TestKeys {
  readonly algorithm: AsymmetricAlgorithm;
  readonly privatePem: string;
  readonly publicPem: string;
  jwk(kid?: string): Promise<JWK>;
  sign(claims: JWTPayload, header?: { kid?: string }): Promise<string>;
}

export function makeKeys(algorithm: AsymmetricAlgorithm): TestKeys {
  const { publicKey, privateKey } =
    algorithm === 'RS256'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 })
      : algorithm === 'ES256'
        ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
        : generateKeyPairSync('ed25519');
  return {
    algorithm,
    privatePem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    jwk: async (kid) => ({ ...(await exportJWK(publicKey)), ...(kid !== undefined && { kid }) }),
    sign: (claims, header = {}) =>
      new SignJWT(claims).setProtectedHeader({ alg: algorithm, ...header }).sign(privateKey),
  };
}

export const ISSUER = 'issuer.test';
export const AUDIENCE = 'audience.test';
export const CHANNEL_ID = 'f3b5c1de-0f0a-4c58-9a3c-2f1d7f4f9c11';
/** A clock for tests, at a whole second. */
export const NOW_MS = 1_800_000_000_000;
export const NOW_SEC = NOW_MS / 1000;

/** The claims of a listener's token. A claim that is set to undefined is left out. */
export function streamClaims(changes: Record<string, unknown> = {}): JWTPayload {
  const claims = {
    org_id: 7,
    channel_id: CHANNEL_ID,
    iss: ISSUER,
    aud: AUDIENCE,
    exp: NOW_SEC + 60,
    jti: randomUUID(),
    ...changes,
  };
  return Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined));
}

/** A token with any header and payload, and a signature that nobody made. */
export function unsigned(header: unknown, payload: unknown, signature = 'c2lnbmF0dXJl'): string {
  const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString('base64url');
  return `${encode(header)}.${encode(payload)}.${signature}`;
}
