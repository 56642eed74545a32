import { decodeJwt, decodeProtectedHeader } from 'jose';
import { expect, test } from 'vitest';
import { keysFromPem } from './key-source.ts';
import { createStreamTokenVerifier } from './stream-token.ts';
import { createStreamTokenSigner } from './stream-token-signer.ts';
import { AUDIENCE, CHANNEL_ID, ISSUER, makeKeys, NOW_MS, NOW_SEC } from './testing.ts';

const name = 'GATEWAY_JWT_PRIVATE_KEY';
const common = { issuer: ISSUER, audience: AUDIENCE, now: () => NOW_MS };

test.each(['RS256', 'ES256', 'EdDSA'] as const)('signs with %s what the verifier takes', async (algorithm) => {
  const { privatePem, publicPem } = makeKeys(algorithm);
  const signer = createStreamTokenSigner({ ...common, name, privateKeyPem: privatePem, ttlSec: 60 });
  const verifier = createStreamTokenVerifier({ ...common, keys: keysFromPem({ name: 'KEY', pem: publicPem }) });
  const token = await signer.sign({ orgId: 7n, channelId: CHANNEL_ID });
  expect(decodeProtectedHeader(token)).toEqual({ alg: algorithm, typ: 'JWT' });
  expect(await verifier.verify(token)).toMatchObject({
    kind: 'valid',
    claims: { orgId: 7n, channelId: CHANNEL_ID, expiresAtMs: NOW_MS + 60_000 },
  });
});

test('says that its holder may cancel, if it is to', async () => {
  const { privatePem } = makeKeys('EdDSA');
  const signer = createStreamTokenSigner({ ...common, name, privateKeyPem: privatePem, ttlSec: 60 });
  const grant = { orgId: 7n, channelId: CHANNEL_ID };
  expect(decodeJwt(await signer.sign({ ...grant, mayCancel: true }))).toMatchObject({ cancel: true });
  for (const plain of [grant, { ...grant, mayCancel: false }]) {
    expect(decodeJwt(await signer.sign(plain))).not.toHaveProperty('cancel');
  }
});

test('signs for several channels what the verifier takes', async () => {
  const { privatePem, publicPem } = makeKeys('EdDSA');
  const signer = createStreamTokenSigner({ ...common, name, privateKeyPem: privatePem, ttlSec: 60 });
  const verifier = createStreamTokenVerifier({ ...common, keys: keysFromPem({ name: 'KEY', pem: publicPem }) });
  const other = 'f3b5c1de-0f0a-4c58-9a3c-2f1d7f4f9c12';
  const token = await signer.sign({ orgId: 7n, channelId: [CHANNEL_ID.toUpperCase(), other] });
  expect(decodeJwt(token)).not.toHaveProperty('channel_id');
  const verified = await verifier.verify(token);
  expect(verified).toMatchObject({ kind: 'valid', claims: { orgId: 7n, channelIds: [CHANNEL_ID, other] } });
});

test('writes the claims as Conduit does, and large organizations without losing digits', async () => {
  const { privatePem } = makeKeys('EdDSA');
  const options = { ...common, name, privateKeyPem: privatePem.replaceAll('\n', '\\n'), keyId: 'k1', ttlSec: 60 };
  const signer = createStreamTokenSigner(options);
  const [token, other] = await Promise.all([
    signer.sign({ orgId: 7n, channelId: CHANNEL_ID }),
    signer.sign({ orgId: 2n ** 64n - 1n, channelId: CHANNEL_ID }),
  ]);
  expect(decodeProtectedHeader(token)).toMatchObject({ kid: 'k1' });
  expect(decodeJwt(token)).toMatchObject({
    org_id: 7,
    channel_id: CHANNEL_ID,
    iss: ISSUER,
    aud: AUDIENCE,
    iat: NOW_SEC,
    exp: NOW_SEC + 60,
  });
  expect(decodeJwt(other)).toMatchObject({ org_id: '18446744073709551615' });
  expect(decodeJwt(token).jti).not.toBe(decodeJwt(other).jti);
});

test.each([
  ['a public key', makeKeys('RS256').publicPem],
  ['other text', 'sup3rsecret'],
])('refuses %s', (_, pem) => {
  expect(() => createStreamTokenSigner({ ...common, name, privateKeyPem: pem, ttlSec: 60 })).toThrow(
    new RegExp(`^${name}: is not a private key in PEM form$`),
  );
});
