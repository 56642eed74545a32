import { createPrivateKey, createPublicKey, type KeyObject, type webcrypto } from 'node:crypto';

/** The asymmetric algorithms that tokens are signed with. One follows from the type of the key, never from a token. */
export const ASYMMETRIC_ALGORITHMS = ['RS256', 'ES256', 'EdDSA'] as const;
export type AsymmetricAlgorithm = (typeof ASYMMETRIC_ALGORITHMS)[number];

/** RFC 7518 section 3.3: smaller RSA keys must not be used. */
export const MIN_RSA_BITS = 2048;

/** A setting that holds a key can't be used. The message names the setting and the reason, never what it holds. */
export class KeySettingError extends Error {
  override readonly name = 'KeySettingError';
  constructor(setting: string, reason: string) {
    super(`${setting}: ${reason}`);
  }
}

export interface SigningKey {
  readonly algorithm: AsymmetricAlgorithm;
  readonly key: webcrypto.CryptoKey;
}

/**
 * Reads a public key or a certificate. A private key is refused, although a public one could be made of it: it has no
 * business on a machine that only verifies.
 * @throws KeySettingError
 */
export function readPublicKey(setting: string, pem: string): SigningKey {
  const text = normalizePem(pem);
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text)) {
    throw new KeySettingError(setting, 'holds a private key; it needs the public one');
  }
  return toCryptoKey(setting, parse(setting, text, 'public key or certificate', createPublicKey), 'verify');
}

/**
 * Reads an unencrypted private key (PKCS #8, PKCS #1 or SEC 1).
 * @throws KeySettingError
 */
export function readPrivateKey(setting: string, pem: string): SigningKey {
  return toCryptoKey(setting, parse(setting, normalizePem(pem), 'private key', createPrivateKey), 'sign');
}

/** Environment files carry line breaks as the two characters `\n`, and some of them the quotes around the value too. */
export function normalizePem(pem: string): string {
  return pem
    .replaceAll('\\r', '')
    .replaceAll('\\n', '\n')
    .trim()
    .replace(/^(["'])([\s\S]*)\1$/, '$2');
}

function parse(setting: string, pem: string, what: string, read: (pem: string) => KeyObject): KeyObject {
  try {
    return read(pem);
  } catch {
    // The cause is left out: OpenSSL's errors may quote their input.
    throw new KeySettingError(setting, `is not a ${what} in PEM form`);
  }
}

function toCryptoKey(setting: string, key: KeyObject, usage: 'sign' | 'verify'): SigningKey {
  const details = key.asymmetricKeyDetails;
  switch (key.asymmetricKeyType) {
    case 'rsa':
      if ((details?.modulusLength ?? 0) < MIN_RSA_BITS) {
        throw new KeySettingError(setting, `is an RSA key of less than ${MIN_RSA_BITS} bits`);
      }
      return {
        algorithm: 'RS256',
        key: key.toCryptoKey({ name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }, false, [usage]),
      };
    case 'ec':
      if (details?.namedCurve !== 'prime256v1') {
        throw new KeySettingError(setting, 'is an EC key of another curve than P-256');
      }
      return { algorithm: 'ES256', key: key.toCryptoKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, [usage]) };
    case 'ed25519':
      return { algorithm: 'EdDSA', key: key.toCryptoKey('Ed25519', false, [usage]) };
    default:
      throw new KeySettingError(setting, 'is of a type that is not supported: use RSA, EC P-256 or Ed25519');
  }
}
