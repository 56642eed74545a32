import { mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JWK } from 'jose';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { keysFromJwksFile } from './jwks-file.ts';
import { keysFromJwks } from './jwks-location.ts';
import { createStreamTokenVerifier } from './stream-token.ts';
import { AUDIENCE, ISSUER, makeKeys, NOW_MS, streamClaims } from './testing.ts';

const name = 'GATEWAY_JWT_JWKS';
const [first, second] = [makeKeys('ES256'), makeKeys('ES256')];
let dir: string;
let path: string;
let nowMs: number;
const now = () => nowMs;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'jwks-'));
  path = join(dir, 'jwks.json');
  nowMs = NOW_MS;
});
afterEach(() => rm(dir, { recursive: true }));

const write = (keys: JWK[]) => writeFile(path, JSON.stringify({ keys }));

async function startVerifier() {
  const problems: string[] = [];
  const keys = await keysFromJwksFile({ name, path, now, onProblem: (error) => problems.push(error.message) });
  const verifier = createStreamTokenVerifier({ keys, issuer: ISSUER, audience: AUDIENCE, now });
  return { verifier, problems, kindOf: async (token: string) => (await verifier.verify(token)).kind };
}

describe('rotation', () => {
  test('a key that is added is known at the next check, one that is removed is refused', async () => {
    await write([await first.jwk('1')]);
    const { verifier, kindOf } = await startVerifier();
    const [old, fresh] = await Promise.all([
      first.sign(streamClaims(), { kid: '1' }),
      second.sign(streamClaims(), { kid: '2' }),
    ]);
    expect([await kindOf(old), await kindOf(fresh)]).toEqual(['valid', 'invalid']);
    expect(verifier.verifyCached(old)?.kind).toBe('valid');

    await write([await first.jwk('1'), await second.jwk('2')]);
    expect(await kindOf(fresh)).toBe('invalid');
    nowMs += 1000;
    expect([await kindOf(fresh), await kindOf(old)]).toEqual(['valid', 'valid']);

    await write([await second.jwk('2')]);
    nowMs += 1000;
    // Any token that is not cached makes the file be looked at, and then no cached answer of before counts.
    expect(await kindOf(await second.sign(streamClaims(), { kid: '2' }))).toBe('valid');
    expect(verifier.verifyCached(old)).toBeUndefined();
    expect([await kindOf(old), await kindOf(fresh)]).toEqual(['invalid', 'valid']);
  });

  test('a removed key is refused within a minute even if only its token is ever seen', async () => {
    await write([await first.jwk('1')]);
    const { kindOf } = await startVerifier();
    const token = await first.sign(streamClaims({ exp: NOW_MS / 1000 + 3600 }));
    expect(await kindOf(token)).toBe('valid');
    await write([await second.jwk('2')]);
    nowMs += 29_000;
    expect(await kindOf(token)).toBe('valid');
    nowMs += 31_000;
    expect(await kindOf(token)).toBe('invalid');
  });

  test("goes on when the system's clock is set back", async () => {
    await write([await first.jwk('1')]);
    vi.useFakeTimers({ toFake: ['Date'] });
    onTestFinished(() => void vi.useRealTimers());
    const keys = await keysFromJwksFile({ name, path, checkIntervalMs: 0 });
    vi.setSystemTime(Date.now() - 3_600_000);
    await write([await first.jwk('1'), await second.jwk('2')]);
    expect(await keys.candidates({ alg: 'ES256', kid: '2' })).toHaveLength(1);
  });

  test('follows a symbolic link that is switched, as mounted secrets are', async () => {
    const [a, b] = [join(dir, 'a.json'), join(dir, 'b.json')];
    await writeFile(a, JSON.stringify({ keys: [await first.jwk()] }));
    await writeFile(b, JSON.stringify({ keys: [await second.jwk()] }));
    await symlink(a, path);
    const { kindOf } = await startVerifier();
    await symlink(b, join(dir, 'next'));
    await rename(join(dir, 'next'), path);
    nowMs += 1000;
    expect(await kindOf(await second.sign(streamClaims()))).toBe('valid');
    expect(await kindOf(await first.sign(streamClaims()))).toBe('invalid');
  });

  test('keeps the keys while the file is broken or gone, says so, and takes them when it is good again', async () => {
    await write([await first.jwk('1')]);
    const { problems, kindOf } = await startVerifier();
    await writeFile(path, '{"keys": [');
    nowMs += 1000;
    expect(await kindOf(await first.sign(streamClaims()))).toBe('valid');
    await rm(path);
    nowMs += 1000;
    expect(await kindOf(await first.sign(streamClaims()))).toBe('valid');
    expect(problems).toEqual([
      `${name}: is not a JSON Web Key Set: it is not JSON`,
      `${name}: names a file that can't be read (ENOENT)`,
    ]);
    await write([await second.jwk('2')]);
    nowMs += 1000;
    expect(await kindOf(await second.sign(streamClaims()))).toBe('valid');
  });
});

describe('selection', () => {
  test('keys of three algorithms in one set, and others that are not ours', async () => {
    const all = [makeKeys('RS256'), makeKeys('ES256'), makeKeys('EdDSA')];
    const jwks = await Promise.all(all.map((keys) => keys.jwk()));
    await write([
      ...jwks,
      { kty: 'oct', k: 'c2VjcmV0' },
      { ...jwks[0], use: 'enc' },
      { kty: 'EC', crv: 'P-384', x: '', y: '' },
    ]);
    const { kindOf } = await startVerifier();
    for (const keys of all) expect(await kindOf(await keys.sign(streamClaims()))).toBe('valid');
  });

  test('a token without kid is tried with each key that fits', async () => {
    await write([await first.jwk('1'), await second.jwk('2')]);
    const { kindOf } = await startVerifier();
    expect(await kindOf(await second.sign(streamClaims()))).toBe('valid');
    expect(await kindOf(await makeKeys('ES256').sign(streamClaims()))).toBe('invalid');
  });

  test('a kid names one key: a token that another key signed is refused', async () => {
    await write([await first.jwk('1'), await second.jwk('2')]);
    const { kindOf } = await startVerifier();
    expect(await kindOf(await second.sign(streamClaims(), { kid: '1' }))).toBe('invalid');
  });
});

test.each([
  ['no JSON', 'nonsense', 'is not a JSON Web Key Set: it is not JSON'],
  ['no set', '{"kty":"RSA"}', 'is not a JSON Web Key Set'],
  ['members that are no keys', '{"keys":["a"]}', 'is not a JSON Web Key Set'],
  ['no key for us', '{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}', 'has no key for RS256, ES256 or EdDSA'],
  ['a broken key', '{"keys":[{"kty":"EC","crv":"P-256","x":"a","y":"b"}]}', "has a EC key that can't be read"],
  [
    'a private key',
    '{"keys":[{"kty":"OKP","crv":"Ed25519","x":"a","d":"b"}]}',
    'holds a private key; it needs public ones',
  ],
  ['too many keys', JSON.stringify({ keys: Array(33).fill({ kty: 'RSA' }) }), 'has more than 32 keys'],
  ['too many bytes', ' '.repeat(256 * 1024 + 1), 'is a file of more than 262144 bytes'],
])('at the start a file with %s is refused', async (_, content, reason) => {
  await writeFile(path, content);
  await expect(keysFromJwks({ name, location: path })).rejects.toThrow(`${name}: ${reason}`);
});

test('at the start a file that is not there is refused', async () => {
  await expect(keysFromJwks({ name, location: path })).rejects.toThrow(
    `${name}: names a file that can't be read (ENOENT)`,
  );
});
