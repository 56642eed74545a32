import { createSecretKey, type webcrypto } from 'node:crypto';
import { ASYMMETRIC_ALGORITHMS, type AsymmetricAlgorithm, KeySettingError, readPublicKey } from './key-pem.ts';

export type TokenAlgorithm = AsymmetricAlgorithm | 'HS256';

/**
 * The keys that may have signed a token.
 *
 * 1. *Algorithms are the source's, not the token's.* A source answers keys only for its own `algorithms`, so a public
 *    key can't be taken for an HMAC secret.
 * 2. *Rotation.* Whenever keys may have gone, `generation` rises, and what was verified before must be verified again.
 *    A source notices a removed key at the latest {@link MAX_ROTATION_DELAY_MS} after it went, if it is in use and its
 *    keys can be fetched.
 */
export interface KeySource {
  readonly algorithms: readonly TokenAlgorithm[];
  readonly generation: number;

  /**
   * The keys to try for a token with this header; none where no key fits.
   * @throws KeysUnavailableError
   */
  candidates(header: TokenHeader): Promise<readonly webcrypto.CryptoKey[]>;
}

/** The two members of a token's header that choose a key. */
export interface TokenHeader {
  readonly alg: TokenAlgorithm;
  readonly kid?: string;
}

/** See {@link KeySource}. With the same age of cached tokens, a removed key is refused within a minute. */
export const MAX_ROTATION_DELAY_MS = 30_000;

/** By which it is told when to look for keys: a clock that is set back would put that off until it is there again. */
export function steadyMs(): number {
  return performance.now();
}

/** The keys can't be fetched just now, so nothing can be said about a token. Retryable. */
export class KeysUnavailableError extends Error {
  override readonly name = 'KeysUnavailableError';
  /** When to try again, in ms. */
  readonly retryAfterMs = 3000;
  constructor(setting: string) {
    super(`the keys of ${setting} can't be fetched`);
  }
}

/**
 * One public key or certificate in PEM form; `name` is the setting it comes from, for errors.
 * @throws KeySettingError
 */
export function keysFromPem(options: { name: string; pem: string }): KeySource {
  const { algorithm, key } = readPublicKey(options.name, options.pem);
  return fixedKey(algorithm, key);
}

/**
 * A secret that both sides share, as UTF-8, for HS256.
 * @throws KeySettingError
 */
export function keysFromSecret(options: { name: string; secret: string }): KeySource {
  return fixedKey('HS256', importSecret(options.name, options.secret, 'verify'));
}

/** @throws KeySettingError */
export function importSecret(setting: string, secret: string, usage: 'sign' | 'verify'): webcrypto.CryptoKey {
  if (secret === '') throw new KeySettingError(setting, 'is empty');
  const bytes = Buffer.from(secret, 'utf8');
  return createSecretKey(bytes).toCryptoKey({ name: 'HMAC', hash: 'SHA-256' }, false, [usage]);
}

export function isAsymmetricAlgorithm(alg: unknown): alg is AsymmetricAlgorithm {
  return (ASYMMETRIC_ALGORITHMS as readonly unknown[]).includes(alg);
}

function fixedKey(algorithm: TokenAlgorithm, key: webcrypto.CryptoKey): KeySource {
  const keys = [key];
  // A kid is not looked at: there is no second key that it could mean.
  return {
    algorithms: [algorithm],
    generation: 0,
    candidates: async ({ alg }) => (alg === algorithm ? keys : []),
  };
}
