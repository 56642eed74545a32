import type { webcrypto } from 'node:crypto';
import { createLocalJWKSet, errors, importJWK, type JSONWebKeySet, type JWK } from 'jose';
import { type AsymmetricAlgorithm, KeySettingError, MIN_RSA_BITS } from './key-pem.ts';
import type { TokenHeader } from './key-source.ts';

/** Of a file or an HTTP answer with a key set. */
export const MAX_JWKS_BYTES = 256 * 1024;
/** Of one set. Also what a token without `kid` may cost at most, in signature checks. */
const MAX_JWKS_KEYS = 32;

/** A JSON Web Key Set that was looked through: it has at least one key we can use, and none that is private. */
export interface CheckedJwks {
  candidates(header: TokenHeader): Promise<readonly webcrypto.CryptoKey[]>;
  /** Equal for equal sets. */
  readonly text: string;
}

/** @throws KeySettingError */
export function parseJwks(setting: string, text: string): Promise<CheckedJwks> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // The cause is left out: it quotes the text.
    throw new KeySettingError(setting, 'is not a JSON Web Key Set: it is not JSON');
  }
  return checkJwks(setting, json);
}

/** @throws KeySettingError */
export async function checkJwks(setting: string, json: unknown): Promise<CheckedJwks> {
  if (!isKeySet(json)) throw new KeySettingError(setting, 'is not a JSON Web Key Set');
  if (json.keys.length > MAX_JWKS_KEYS) throw new KeySettingError(setting, `has more than ${MAX_JWKS_KEYS} keys`);

  // Others' keys (encryption, other curves, secrets) may stand in the same set; they are left out.
  const usable: JWK[] = [];
  for (const jwk of json.keys) {
    const algorithm = algorithmOf(jwk);
    if (algorithm === undefined) continue;
    if (jwk.d !== undefined) throw new KeySettingError(setting, 'holds a private key; it needs public ones');
    await checkKey(setting, jwk, algorithm);
    usable.push(jwk);
  }
  if (usable.length === 0) throw new KeySettingError(setting, 'has no key for RS256, ES256 or EdDSA');

  const select = createLocalJWKSet({ keys: usable });
  return {
    text: JSON.stringify(usable),
    async candidates(header) {
      try {
        return [await select({ ...header })];
      } catch (error) {
        if (error instanceof errors.JWKSNoMatchingKey) return [];
        if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
        const keys: webcrypto.CryptoKey[] = [];
        for await (const key of error) keys.push(key);
        return keys;
      }
    },
  };
}

function isKeySet(json: unknown): json is JSONWebKeySet {
  return (
    typeof json === 'object' &&
    json !== null &&
    'keys' in json &&
    Array.isArray(json.keys) &&
    json.keys.every((key) => typeof key === 'object' && key !== null && !Array.isArray(key))
  );
}

function algorithmOf(jwk: JWK): AsymmetricAlgorithm | undefined {
  if (jwk.use !== undefined && jwk.use !== 'sig') return undefined;
  if (jwk.key_ops !== undefined && !(Array.isArray(jwk.key_ops) && jwk.key_ops.includes('verify'))) return undefined;
  const algorithm = algorithmOfType(jwk);
  return jwk.alg === undefined || jwk.alg === algorithm ? algorithm : undefined;
}

function algorithmOfType({ kty, crv }: JWK): AsymmetricAlgorithm | undefined {
  if (kty === 'RSA') return 'RS256';
  if (kty === 'EC' && crv === 'P-256') return 'ES256';
  if (kty === 'OKP' && crv === 'Ed25519') return 'EdDSA';
  return undefined;
}

async function checkKey(setting: string, jwk: JWK, algorithm: AsymmetricAlgorithm): Promise<void> {
  let key: webcrypto.CryptoKey | Uint8Array;
  try {
    key = await importJWK(jwk, algorithm);
  } catch {
    throw new KeySettingError(setting, `has a ${jwk.kty} key that can't be read`);
  }
  const bits = 'algorithm' in key && 'modulusLength' in key.algorithm ? Number(key.algorithm.modulusLength) : undefined;
  if (bits !== undefined && bits < MIN_RSA_BITS) {
    throw new KeySettingError(setting, `has an RSA key of less than ${MIN_RSA_BITS} bits`);
  }
}
