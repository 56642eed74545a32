import { chmod, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isDevelopmentSecret, loadOrCreateDevelopmentKeys } from './development-keys.ts';
import { keysFromPem } from './key-source.ts';
import { createStreamTokenVerifier } from './stream-token.ts';
import { createStreamTokenSigner } from './stream-token-signer.ts';
import { AUDIENCE, CHANNEL_ID, ISSUER, makeKeys } from './testing.ts';

let dir: string;
beforeEach(async () => {
  dir = join(await mkdtemp(join(tmpdir(), 'development-keys-')), 'data');
});
afterEach(() => rm(join(dir, '..'), { recursive: true }));

const modeOf = async (path: string) => (await stat(path)).mode & 0o777;

test('are made once, for their owner only', async () => {
  const keys = await loadOrCreateDevelopmentKeys(dir);
  expect(await loadOrCreateDevelopmentKeys(dir)).toEqual(keys);
  expect(await modeOf(join(dir, 'keys'))).toBe(0o700);
  expect(await modeOf(join(dir, 'keys', 'development-keys.json'))).toBe(0o600);
});

test('that others could read are closed again', async () => {
  await loadOrCreateDevelopmentKeys(dir);
  await chmod(join(dir, 'keys'), 0o755);
  await chmod(join(dir, 'keys', 'development-keys.json'), 0o644);
  await loadOrCreateDevelopmentKeys(dir);
  expect(await modeOf(join(dir, 'keys'))).toBe(0o700);
  expect(await modeOf(join(dir, 'keys', 'development-keys.json'))).toBe(0o600);
});

test('are the same for all that start at once, and leave nothing else behind', async () => {
  const [first, ...others] = await Promise.all(Array.from({ length: 8 }, () => loadOrCreateDevelopmentKeys(dir)));
  for (const other of others) expect(other).toEqual(first);
  expect(await readdir(join(dir, 'keys'))).toEqual(['development-keys.json']);
});

test('sign and verify', async () => {
  const { privateKeyPem, publicKeyPem } = await loadOrCreateDevelopmentKeys(dir);
  const common = { issuer: ISSUER, audience: AUDIENCE };
  const signer = createStreamTokenSigner({ ...common, name: 'PRIVATE', privateKeyPem, ttlSec: 60 });
  const verifier = createStreamTokenVerifier({ ...common, keys: keysFromPem({ name: 'PUBLIC', pem: publicKeyPem }) });
  expect((await verifier.verify(await signer.sign({ orgId: 1n, channelId: CHANNEL_ID }))).kind).toBe('valid');
});

test('are known as such wherever they are copied, and others are not', async () => {
  const keys = await loadOrCreateDevelopmentKeys(dir);
  for (const text of Object.values(keys)) {
    expect(isDevelopmentSecret(text)).toBe(true);
    expect(isDevelopmentSecret(`  ${text.replaceAll('\n', '\\n')}\n`)).toBe(true);
  }
  const { privatePem, publicPem } = makeKeys('RS256');
  for (const text of ['', 'secret', '-----BEGIN PUBLIC KEY-----', privatePem, publicPem, makeKeys('EdDSA').publicPem]) {
    expect(isDevelopmentSecret(text)).toBe(false);
  }
});

test('a folder that can not be one is said by the name of its setting', async () => {
  const file = `${dir}-file`;
  await writeFile(file, '');
  await expect(loadOrCreateDevelopmentKeys(file)).rejects.toThrow(/^TIDEWAY_DATA_DIR: must be a folder .*ENOTDIR/);
});

test.each(['', '{', '{}', '{"privateKeyPem":"a","publicKeyPem":"b","publishSecret":"c","apiToken":"d"}'])(
  'a file that holds something else is not overwritten: %s',
  async (content) => {
    await loadOrCreateDevelopmentKeys(dir);
    const path = join(dir, 'keys', 'development-keys.json');
    await writeFile(path, content);
    await expect(loadOrCreateDevelopmentKeys(dir)).rejects.toThrow(
      `${path}: holds no development keys; remove it to have new ones made`,
    );
  },
);
