import { timingSafeEqual } from 'node:crypto';
import { secretDigest } from '#lib/auth/secret-digest.ts';
import { bearer } from '#lib/server/gate.ts';

/** Whether the value of an Authorization header has one of these tokens. @throws Refusal if it has none at all. */
export function relayTokens(secrets: readonly string[]): (authorization: string) => boolean {
  const hashes = secrets.map(secretDigest);
  return (authorization) => {
    const hash = secretDigest(bearer(authorization));
    return hashes.some((known) => timingSafeEqual(known, hash));
  };
}
