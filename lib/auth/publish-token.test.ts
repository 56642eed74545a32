import { SignJWT } from 'jose';
import { describe, expect, test } from 'vitest';
import { keysFromPem, keysFromSecret } from './key-source.ts';
import { createPublishTokenVerifier } from './publish-token.ts';
import { createPublishTokenSigner } from './publish-token-signer.ts';
import { AUDIENCE, CHANNEL_ID, ISSUER, makeKeys, NOW_MS, NOW_SEC } from './testing.ts';

const name = 'PUBLISH_JWT_SECRET';
const secret = 'a secret of the publishers';
const now = () => NOW_MS;
const common = { issuer: ISSUER, audience: AUDIENCE, now };
const verifier = createPublishTokenVerifier({ ...common, keys: [keysFromSecret({ name, secret })] });
const signer = createPublishTokenSigner({ ...common, name, secret, ttlSec: 60 });
const base = { iss: ISSUER, aud: AUDIENCE, exp: NOW_SEC + 60 };
const expiresAtMs = NOW_MS + 60_000;

function signHs256(claims: Record<string, unknown>, key = secret): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(key));
}

describe('claims', () => {
  test('of a token for everything', async () => {
    const token = await signer.sign({ subject: 'backend' });
    expect(await verifier.verify(token)).toEqual({ kind: 'valid', claims: { subject: 'backend', expiresAtMs } });
  });

  test('of a token for one channel', async () => {
    const token = await signer.sign({ subject: 'backend', orgId: 2n ** 60n, channelId: CHANNEL_ID.toUpperCase() });
    expect(await verifier.verify(token)).toEqual({
      kind: 'valid',
      claims: { subject: 'backend', orgId: 2n ** 60n, channelId: CHANNEL_ID, expiresAtMs },
    });
  });

  test('a subject is not required', async () => {
    expect(await verifier.verify(await signHs256(base))).toEqual({ kind: 'valid', claims: { expiresAtMs } });
  });

  test.each([
    ['org_id', null],
    ['org_id', ''],
    ['org_id', 1.5],
    ['channel_id', null],
    ['channel_id', '*'],
    ['sub', 7],
  ])('a restriction that cannot be read is not none: %s %o', async (claim, value) => {
    expect((await verifier.verify(await signHs256({ ...base, [claim]: value }))).kind).toBe('invalid');
  });

  test.each(['iss', 'aud', 'exp'])('%s is required', async (claim) => {
    const { [claim]: _, ...claims } = base as Record<string, unknown>;
    expect((await verifier.verify(await signHs256(claims))).kind).toBe('invalid');
  });

  test('expiry allows for clocks that are 5 s apart', async () => {
    expect((await verifier.verify(await signHs256({ ...base, exp: NOW_SEC - 4 }))).kind).toBe('valid');
    expect((await verifier.verify(await signHs256({ ...base, exp: NOW_SEC - 6 }))).kind).toBe('expired');
  });
});

test('another secret is refused', async () => {
  expect((await verifier.verify(await signHs256(base, 'another'))).kind).toBe('invalid');
});

test('a verified token is answered from memory', async () => {
  const token = await signer.sign({ subject: 'a new one' });
  expect(verifier.verifyCached(token)).toBeUndefined();
  const result = await verifier.verify(token);
  expect(verifier.verifyCached(token)).toBe(result);
});

describe('with a secret and public keys', () => {
  const pairs = [makeKeys('RS256'), makeKeys('EdDSA')];
  const both = createPublishTokenVerifier({
    ...common,
    keys: [
      keysFromSecret({ name, secret }),
      ...pairs.map(({ publicPem }) => keysFromPem({ name: 'KEY', pem: publicPem })),
    ],
  });

  test('each verifies its own', async () => {
    expect((await both.verify(await signHs256(base))).kind).toBe('valid');
    for (const pair of pairs) expect((await both.verify(await pair.sign(base))).kind).toBe('valid');
  });

  test('a public key is no secret', async () => {
    for (const { publicPem } of pairs) {
      expect((await both.verify(await signHs256(base, publicPem))).kind).toBe('invalid');
    }
  });
});
