import { errors, type JWTPayload, jwtVerify } from 'jose';
import { LRUCache } from 'lru-cache';
import type { KeySource, TokenAlgorithm, TokenHeader } from './key-source.ts';
import { MAX_ROTATION_DELAY_MS } from './key-source.ts';

export type TokenResult<Claims> =
  | { readonly kind: 'valid'; readonly claims: Claims }
  | { readonly kind: 'expired' }
  | { readonly kind: 'invalid' };

/**
 * Says whether a token was signed by one of our keys, for us, and is not expired.
 *
 * 1. Only a token whose signature, iss, aud and exp were checked by jose with an algorithm of the key's own source is
 *    valid. What is looked at before that can only refuse.
 * 2. What is refused without a key (size, form, algorithm, claims) costs no cryptography: a flood of bad tokens costs
 *    its parsing. So `expired` and `invalid` say nothing about the signature.
 * 3. Valid tokens are remembered, bounded in number and bytes, for at most {@link MAX_ROTATION_DELAY_MS} and as long as
 *    the keys stay what they were. Expiry is looked at in every use.
 */
export interface TokenVerifier<Claims> {
  /** @throws KeysUnavailableError if the keys can't be fetched; nothing else is thrown for any token. */
  verify(token: string): Promise<TokenResult<Claims>>;

  /** The answer for a token that was verified lately, at the price of a Map lookup; undefined: ask {@link verify}. */
  verifyCached(token: string): TokenResult<Claims> | undefined;
}

export interface TokenVerifierOptions {
  readonly issuer: string;
  readonly audience: string;
  /** How far our clock and the issuer's may be apart. */
  readonly clockSkewSec?: number;
  readonly cacheEntries?: number;
  readonly now?: () => number;
}

export const MAX_TOKEN_BYTES = 8 * 1024;
export const DEFAULT_CLOCK_SKEW_SEC = 5;
export const DEFAULT_CACHE_ENTRIES = 10_000;
/** Tokens are mostly of 300 to 900 bytes; many large ones must not fill the memory. */
const MAX_CACHE_BYTES = 16 * 1024 * 1024;
/** What an entry takes beside its token, roughly. */
const ENTRY_OVERHEAD_BYTES = 500;

const FORM = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;
const EXPIRED = Object.freeze({ kind: 'expired' });
const INVALID = Object.freeze({ kind: 'invalid' });

/**
 * @param readClaims Makes claims of a payload, undefined where one is missing or has another form. Called before
 * and after the signature is checked.
 */
export function createTokenVerifier<Claims extends { readonly expiresAtMs: number }>(
  keys: readonly KeySource[],
  readClaims: (payload: JWTPayload, expiresAtMs: number) => Claims | undefined,
  options: TokenVerifierOptions,
): TokenVerifier<Claims> {
  const { issuer, audience, now = Date.now } = options;
  const clockSkewSec = options.clockSkewSec ?? DEFAULT_CLOCK_SKEW_SEC;
  const sources = new Map<string, KeySource[]>();
  for (const source of keys) {
    for (const alg of source.algorithms) sources.set(alg, [...(sources.get(alg) ?? []), source]);
  }

  interface CacheEntry {
    readonly result: TokenResult<Claims> & { readonly kind: 'valid' };
    readonly verifiedAtMs: number;
  }
  const cache = new LRUCache<string, CacheEntry>({
    max: options.cacheEntries ?? DEFAULT_CACHE_ENTRIES,
    maxSize: MAX_CACHE_BYTES,
    sizeCalculation: (_, token) => token.length + ENTRY_OVERHEAD_BYTES,
  });
  let cachedGeneration = 0;

  function generation(): number {
    let sum = 0;
    for (const source of keys) sum += source.generation;
    return sum;
  }

  function hasExpired(expiresAtMs: number): boolean {
    return now() >= expiresAtMs + clockSkewSec * 1000;
  }

  function verifyCached(token: string): TokenResult<Claims> | undefined {
    if (generation() !== cachedGeneration) {
      cache.clear();
      cachedGeneration = generation();
    }
    const entry = cache.get(token);
    if (entry === undefined) return undefined;
    if (hasExpired(entry.result.claims.expiresAtMs)) {
      cache.delete(token);
      return EXPIRED;
    }
    const ageMs = now() - entry.verifiedAtMs;
    // Set back, the clock says nothing about its age.
    if (ageMs >= MAX_ROTATION_DELAY_MS || ageMs < 0) {
      cache.delete(token);
      return undefined;
    }
    return entry.result;
  }

  /** What can be said without a key. */
  function precheck(token: string): TokenHeader | TokenResult<Claims> {
    if (token.length > MAX_TOKEN_BYTES || !FORM.test(token)) return INVALID;
    const [headerPart = '', payloadPart = ''] = token.split('.', 2);
    const header = decodeObject(headerPart);
    if (header === undefined || !isKnown(header['alg'], sources) || 'crit' in header) return INVALID;
    const { alg, kid } = header;
    if (kid !== undefined && typeof kid !== 'string') return INVALID;
    const payload = decodeObject(payloadPart);
    if (payload === undefined || !isFor(payload, issuer, audience)) return INVALID;
    const expiresAtMs = readExpiry(payload);
    if (expiresAtMs === undefined || readClaims(payload, expiresAtMs) === undefined) return INVALID;
    if (hasExpired(expiresAtMs)) return EXPIRED;
    return kid === undefined ? { alg } : { alg, kid };
  }

  async function verifyWithKeys(token: string, header: TokenHeader): Promise<TokenResult<Claims>> {
    for (const source of sources.get(header.alg) ?? []) {
      for (const key of await source.candidates(header)) {
        try {
          const { payload } = await jwtVerify(token, key, {
            algorithms: [header.alg],
            issuer,
            audience,
            clockTolerance: clockSkewSec,
            currentDate: new Date(now()),
            requiredClaims: ['exp'],
          });
          const expiresAtMs = readExpiry(payload);
          const claims = expiresAtMs === undefined ? undefined : readClaims(payload, expiresAtMs);
          return claims === undefined ? INVALID : Object.freeze({ kind: 'valid', claims: Object.freeze(claims) });
        } catch (error) {
          if (error instanceof errors.JWTExpired) return EXPIRED;
          if (!(error instanceof errors.JOSEError)) throw error;
          if (!(error instanceof errors.JWSSignatureVerificationFailed)) return INVALID;
        }
      }
    }
    return INVALID;
  }

  return {
    verifyCached,

    async verify(token) {
      const cached = verifyCached(token);
      if (cached !== undefined) return cached;
      const checked = precheck(token);
      if ('kind' in checked) return checked;

      const verifiedAtMs = now();
      const generationBefore = generation();
      const result = await verifyWithKeys(token, checked);
      // If keys changed meanwhile, the one that was used may be gone, and the cache already cleared for it.
      if (result.kind === 'valid' && generation() === generationBefore) {
        cache.set(ownCopy(token), { result, verifiedAtMs });
      }
      return result;
    },
  };
}

function isKnown(alg: unknown, sources: ReadonlyMap<string, unknown>): alg is TokenAlgorithm {
  return typeof alg === 'string' && sources.has(alg);
}

function isFor(payload: JWTPayload, issuer: string, audience: string): boolean {
  const { iss, aud } = payload;
  return iss === issuer && (Array.isArray(aud) ? aud.includes(audience) : aud === audience);
}

function readExpiry(payload: JWTPayload): number | undefined {
  const { exp } = payload;
  return typeof exp === 'number' && Number.isSafeInteger(Math.trunc(exp) * 1000) ? exp * 1000 : undefined;
}

function decodeObject(part: string): JWTPayload | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

/** A token cut out of a header or a URL keeps all of that text in memory; the cache counts the token's bytes only. */
function ownCopy(token: string): string {
  return Buffer.from(token, 'latin1').toString('latin1');
}
