import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject, randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createOnce } from '#lib/files/create-once.ts';
import { KeySettingError, normalizePem } from './key-pem.ts';

/** Keys that a development server makes for itself, so that it starts without any settings. */
export interface DevelopmentKeys {
  /** RSA, PKCS #8: signs listeners' tokens. */
  readonly privateKeyPem: string;
  /** SPKI: verifies them. */
  readonly publicKeyPem: string;
  /** HS256: publishers' tokens. */
  readonly publishSecret: string;
  /** What operates the installation. */
  readonly apiToken: string;
}

const FOLDER = 'keys';
const FILE = 'development-keys.json';
/** What marks a development secret wherever it is copied to. */
export const DEVELOPMENT_SECRET_PREFIX = 'tideway-development-';
/**
 * What marks a development key pair wherever it is copied to: a public exponent as sound as the usual 65537, which
 * nothing else in use makes.
 */
const DEVELOPMENT_EXPONENT = 65539;

/**
 * The keys in `<dir>/keys`, made at the first call. Processes that start at the same time get the same keys: the file
 * appears whole or not at all, and the first one stays.
 */
export async function loadOrCreateDevelopmentKeys(dir: string): Promise<DevelopmentKeys> {
  const folder = join(dir, FOLDER);
  const path = join(folder, FILE);
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await chmod(folder, 0o700);
  } catch (error) {
    throw new KeySettingError('TIDEWAY_DATA_DIR', `must be a folder to read and to write: ${String(error)}`);
  }
  const existing = await load(path);
  if (existing !== undefined) return existing;

  await createOnce(path, `${JSON.stringify(await makeKeys(), null, 2)}\n`);
  const created = await load(path);
  if (created === undefined) throw new Error(`${path} was removed while it was made`);
  return created;
}

/** True for a secret, a token or a PEM key that a development server made. Production must refuse these. */
export function isDevelopmentSecret(text: string): boolean {
  if (text.trim().startsWith(DEVELOPMENT_SECRET_PREFIX)) return true;
  return text.includes('-----BEGIN ') && exponentOf(normalizePem(text)) === BigInt(DEVELOPMENT_EXPONENT);
}

async function makeKeys(): Promise<DevelopmentKeys> {
  const { publicKey, privateKey } = await promisify(generateKeyPair)('rsa', {
    modulusLength: 2048,
    publicExponent: DEVELOPMENT_EXPONENT,
  });
  return {
    privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    publishSecret: DEVELOPMENT_SECRET_PREFIX + randomBytes(32).toString('base64url'),
    apiToken: DEVELOPMENT_SECRET_PREFIX + randomBytes(32).toString('base64url'),
  };
}

async function load(path: string): Promise<DevelopmentKeys | undefined> {
  let text: string;
  try {
    await chmod(path, 0o600);
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  const keys = parseKeys(text);
  if (keys === undefined) throw new KeySettingError(path, 'holds no development keys; remove it to have new ones made');
  return keys;
}

function parseKeys(text: string): DevelopmentKeys | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  const record: Record<string, unknown> = typeof json === 'object' && json !== null ? { ...json } : {};
  const { privateKeyPem, publicKeyPem, publishSecret, apiToken } = record;
  const isDevelopment = (value: unknown): value is string => typeof value === 'string' && isDevelopmentSecret(value);
  return isDevelopment(privateKeyPem) &&
    isDevelopment(publicKeyPem) &&
    isDevelopment(publishSecret) &&
    isDevelopment(apiToken)
    ? { privateKeyPem, publicKeyPem, publishSecret, apiToken }
    : undefined;
}

function exponentOf(pem: string): bigint | undefined {
  try {
    const key: KeyObject = /PRIVATE KEY-----/.test(pem) ? createPrivateKey(pem) : createPublicKey(pem);
    return key.asymmetricKeyDetails?.publicExponent;
  } catch {
    return undefined;
  }
}
