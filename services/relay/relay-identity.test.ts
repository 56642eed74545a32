import { createPublicKey, verify } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { ConfigError } from '#lib/server/env.ts';
import { CREDENTIALS_FILE, loadOrCreateRelayIdentity } from './relay-identity.ts';

async function newFolder() {
  const dir = await mkdtemp(join(tmpdir(), 'tideway-relay-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return { dir, path: join(dir, CREDENTIALS_FILE) };
}

test('made once, for its owner alone, whoever starts at the same time', async () => {
  const { dir, path } = await newFolder();
  const identities = await Promise.all(Array.from({ length: 10 }, () => loadOrCreateRelayIdentity(dir)));
  const again = await loadOrCreateRelayIdentity(dir);
  expect(new Set([...identities, again].map(({ id, publicKey }) => `${id} ${publicKey}`)).size).toBe(1);
  expect(await readdir(dir)).toEqual([CREDENTIALS_FILE]);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  const json: Record<string, string> = JSON.parse(await readFile(path, 'utf8'));
  expect(Object.keys(json)).toEqual(['id', 'public_key', 'secret_key']);
  expect(Buffer.from(json['secret_key'] ?? '', 'base64url')).toHaveLength(32);
});

test('what it signs is what the protocol says', async () => {
  const { dir } = await newFolder();
  const { publicKey, sign } = await loadOrCreateRelayIdentity(dir);
  const body = Buffer.from('{"a":1}');
  const [signature = '', header = ''] = sign(body, Date.UTC(2030, 0, 2)).split('.');
  const head = Buffer.from(header, 'base64url');
  expect(head.toString()).toBe('{"t":"2030-01-02T00:00:00.000Z"}');
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: publicKey }, format: 'jwk' });
  const signed = Buffer.concat([head, Buffer.from([0]), body]);
  expect(verify(null, signed, key, Buffer.from(signature, 'base64url'))).toBe(true);
});

test('a file that is none, or that others can read, is an error that names it and no secret', async () => {
  const { dir, path } = await newFolder();
  const { publicKey } = await loadOrCreateRelayIdentity(dir);
  const good = await readFile(path, 'utf8');
  const secret: string = JSON.parse(good).secret_key;
  for (const bad of ['', '{}', 'null', good.replace(publicKey, secret), good.replace(secret, 'c2hvcnQ')]) {
    await writeFile(path, bad);
    const error = await loadOrCreateRelayIdentity(dir).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ConfigError);
    expect(String(error)).toContain(path);
    expect(String(error)).not.toContain(secret);
  }
  await writeFile(path, good);
  await chmod(path, 0o640);
  await expect(loadOrCreateRelayIdentity(dir)).rejects.toThrow('can be read by others');
});
