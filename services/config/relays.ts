import { timingSafeEqual } from 'node:crypto';
import { secretDigest } from '#lib/auth/secret-digest.ts';
import { bearer } from '#lib/server/gate.ts';
import { Refusal } from '#lib/server/refusal.ts';
import type { RelayKey } from './relay-signature.ts';

/** Who asks for configs. */
export interface Relay {
  /** Ours: it is told quotas too. */
  readonly isTrusted: boolean;
}

/** A relay that signs what it asks. */
export interface SigningRelay extends Relay {
  /** As in the settings: base64url. */
  readonly publicKey: string;
  readonly key: RelayKey;
}

export interface RelayToken extends Relay {
  readonly secret: string;
}

export interface RelaysOptions {
  readonly tokens: readonly RelayToken[];
  readonly keys: readonly SigningRelay[];
}

/**
 * The relays there are: those of the settings, and nobody else. Nothing about them is stored, so every process knows the
 * same, also after a restart.
 */
export class Relays {
  readonly #tokens: readonly { readonly hash: Buffer; readonly isTrusted: boolean }[];
  readonly #keys: readonly SigningRelay[];

  constructor({ tokens, keys }: RelaysOptions) {
    this.#tokens = tokens.map(({ secret, isTrusted }) => ({ hash: secretDigest(secret), isTrusted }));
    this.#keys = keys;
  }

  get keys(): readonly SigningRelay[] {
    return this.#keys;
  }

  /** By the value of an Authorization header. @throws Refusal */
  authenticate(authorization: string | undefined): Relay {
    const hash = secretDigest(bearer(authorization));
    const found = this.#tokens.find((token) => timingSafeEqual(token.hash, hash));
    if (found === undefined) throw new Refusal('relay_token_invalid');
    return found;
  }

  findKey(publicKey: string): SigningRelay | undefined {
    return this.#keys.find((relay) => relay.publicKey === publicKey.replace(/=$/, ''));
  }
}
