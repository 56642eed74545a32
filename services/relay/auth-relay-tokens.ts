import { createHash, timingSafeEqual } from 'node:crypto';
import { bearer } from '#lib/server/gate.ts';

/** Whether the value of an Authorization header has one of these tokens. @throws Refusal if it has none at all. */
export function relayTokens(secrets: readonly string[]): (authorization: string) => boolean {
  const hashes = secrets.map(hashOf);
  return (authorization) => {
    const hash = hashOf(bearer(authorization));
    return hashes.some((known) => timingSafeEqual(known, hash));
  };
}

/** Of one length, so that comparing takes the same time for all. */
function hashOf(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}
