import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

/** What a relay that registers is asked to send back, signed. */
export interface Challenge {
  readonly relayId: string;
  readonly publicKey: string;
}

export const MAX_CHALLENGE_AGE_MS = 60_000;

/**
 * Makes tokens that say by themselves whom they were given to and until when, so that nothing is kept for those who only
 * ask. With the same secret, other processes take them too.
 */
export class Challenges {
  readonly #secret: Buffer;

  /** Without a secret: one of this process's own. */
  constructor(secret: string | undefined) {
    this.#secret =
      secret === undefined ? randomBytes(32) : createHmac('sha256', secret).update('relay challenges').digest();
  }

  make({ relayId, publicKey }: Challenge, nowMs: number): string {
    const text = Buffer.from(JSON.stringify([relayId, publicKey, nowMs + MAX_CHALLENGE_AGE_MS])).toString('base64url');
    return `${text}.${this.#sign(text)}`;
  }

  /** Undefined: not one of ours, or too old. */
  read(token: string, nowMs: number): Challenge | undefined {
    const [text = '', signature = ''] = token.split('.', 2);
    const expected = Buffer.from(this.#sign(text));
    const given = Buffer.from(signature);
    if (given.byteLength !== expected.byteLength || !timingSafeEqual(given, expected)) return undefined;
    const [relayId, publicKey, expiresMs] = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
    return nowMs > expiresMs ? undefined : { relayId, publicKey };
  }

  #sign(text: string): string {
    return createHmac('sha256', this.#secret).update(text).digest('base64url');
  }
}
