import { createPrivateKey, createPublicKey, type KeyObject, randomBytes, randomUUID, sign } from 'node:crypto';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createOnce } from '#lib/files/create-once.ts';
import { ConfigError } from '#lib/server/env.ts';

/** Who a relay is to a Sentry upstream: an id, and an Ed25519 key that it signs with. */
export interface RelayIdentity {
  readonly id: string;
  /** base64url: what the upstream has in its settings. */
  readonly publicKey: string;
  /** The value of `X-Sentry-Relay-Signature`. */
  sign(body: Uint8Array, nowMs: number): string;
}

export const CREDENTIALS_FILE = 'relay-credentials.json';

/**
 * That of the data folder, made at the first start. Processes that start at the same time get the same one.
 * @throws ConfigError where the file holds none, or others can read it
 */
export async function loadOrCreateRelayIdentity(dataDir: string): Promise<RelayIdentity> {
  const path = join(dataDir, CREDENTIALS_FILE);
  const existing = await load(path);
  if (existing !== undefined) return existing;
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  await createOnce(path, `${JSON.stringify(makeCredentials(), null, 2)}\n`);
  const made = await load(path);
  if (made === undefined) throw new ConfigError(`${path} was removed while it was made`);
  return made;
}

interface Credentials {
  readonly id: string;
  readonly public_key: string;
  /** The key's 32 bytes in base64url. */
  readonly secret_key: string;
}

const KEY_BYTES = 32;
/** What comes before an Ed25519 key's bytes in PKCS #8. */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const NUL = Buffer.from([0]);

function makeCredentials(): Credentials {
  const secret = randomBytes(KEY_BYTES);
  return {
    id: randomUUID(),
    public_key: publicKeyOf(privateKeyOf(secret)),
    secret_key: secret.toString('base64url'),
  };
}

async function load(path: string): Promise<RelayIdentity | undefined> {
  let text: string;
  try {
    const { mode } = await stat(path);
    if ((mode & 0o077) !== 0) throw new ConfigError(`${path} can be read by others; chmod 600 it`);
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  const identity = parse(text);
  if (identity === undefined)
    throw new ConfigError(`${path} holds no relay credentials; remove it to have new ones made`);
  return identity;
}

function parse(text: string): RelayIdentity | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { id, public_key, secret_key }: Record<string, unknown> =
    typeof json === 'object' && json !== null ? { ...json } : {};
  if (typeof id !== 'string' || !UUID.test(id) || typeof secret_key !== 'string') return undefined;
  const secret = Buffer.from(secret_key, 'base64url');
  if (secret.byteLength !== KEY_BYTES) return undefined;
  const key = privateKeyOf(secret);
  const publicKey = publicKeyOf(key);
  return publicKey === public_key ? { id, publicKey, sign: (body, nowMs) => signatureOf(key, body, nowMs) } : undefined;
}

/** `base64url(Ed25519 over header, NUL, body) . base64url(header)`. */
function signatureOf(key: KeyObject, body: Uint8Array, nowMs: number): string {
  const header = Buffer.from(JSON.stringify({ t: new Date(nowMs).toISOString() }));
  const signature = sign(null, Buffer.concat([header, NUL, body]), key);
  return `${signature.toString('base64url')}.${header.toString('base64url')}`;
}

function privateKeyOf(secret: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, secret]), format: 'der', type: 'pkcs8' });
}

function publicKeyOf(key: KeyObject): string {
  return createPublicKey(key).export({ format: 'jwk' }).x ?? '';
}
