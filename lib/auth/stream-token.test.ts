import { createHmac } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { type KeySource, keysFromPem, keysFromSecret } from './key-source.ts';
import { createStreamTokenVerifier } from './stream-token.ts';
import { AUDIENCE, CHANNEL_ID, ISSUER, makeKeys, NOW_MS, NOW_SEC, streamClaims, unsigned } from './testing.ts';

const keys = makeKeys('RS256');
const source = keysFromPem({ name: 'GATEWAY_JWT_PUBLIC_KEY', pem: keys.publicPem });

function createVerifier(options: { now?: () => number; cacheEntries?: number; keys?: KeySource } = {}) {
  return createStreamTokenVerifier({ keys: source, issuer: ISSUER, audience: AUDIENCE, now: () => NOW_MS, ...options });
}

async function kindOf(token: string): Promise<string> {
  return (await createVerifier().verify(token)).kind;
}

/** Counts how often keys are asked for: what comes before costs no cryptography. */
function counted(inner: KeySource): KeySource & { asked: number } {
  return {
    algorithms: inner.algorithms,
    generation: 0,
    asked: 0,
    candidates(header) {
      this.asked++;
      return inner.candidates(header);
    },
  };
}

describe('claims', () => {
  test.each(['RS256', 'ES256', 'EdDSA'] as const)('of a valid %s token', async (algorithm) => {
    const pair = makeKeys(algorithm);
    const verifier = createVerifier({ keys: keysFromPem({ name: 'KEY', pem: pair.publicPem }) });
    const token = await pair.sign(streamClaims({ channel_id: CHANNEL_ID.toUpperCase(), jti: 'id' }));
    expect(await verifier.verify(token)).toEqual({
      kind: 'valid',
      claims: { orgId: 7n, channelId: CHANNEL_ID, expiresAtMs: NOW_MS + 60_000, tokenId: 'id' },
    });
  });

  test.for([
    [
      { cancel: true, iat: NOW_MS / 1000 - 5 },
      { mayCancel: true, issuedAtMs: NOW_MS - 5000 },
    ],
    [{ cancel: 'true', iat: NOW_MS / 1000 }, { issuedAtMs: NOW_MS }],
    [{ cancel: 1 }, {}],
    [{ cancel: false }, {}],
  ])('of whether its holder may cancel, and when it was issued: %j', async ([changes, more]) => {
    const token = await keys.sign(streamClaims({ jti: 'id', ...changes }));
    const claims = { orgId: 7n, channelId: CHANNEL_ID, expiresAtMs: NOW_MS + 60_000, tokenId: 'id', ...more };
    expect(await createVerifier().verify(token)).toEqual({ kind: 'valid', claims });
  });

  test('of a token for several channels, with one of its own or without', async () => {
    const other = 'F3B5C1DE-0F0A-4C58-9A3C-2F1D7F4F9C12';
    const of = async (changes: object) =>
      createVerifier().verify(
        await keys.sign(streamClaims({ channel_ids: [CHANNEL_ID, other], jti: 'id', ...changes })),
      );
    const claims = {
      orgId: 7n,
      channelIds: [CHANNEL_ID, other.toLowerCase()],
      expiresAtMs: NOW_MS + 60_000,
      tokenId: 'id',
    };
    expect(await of({ channel_id: undefined })).toEqual({ kind: 'valid', claims });
    expect(await of({})).toEqual({ kind: 'valid', claims: { ...claims, channelId: CHANNEL_ID } });
  });

  test.each([
    [Number.MAX_SAFE_INTEGER, BigInt(Number.MAX_SAFE_INTEGER)],
    ['42', 42n],
    ['18446744073709551615', 18446744073709551615n],
  ])('org_id %o', async (claim, orgId) => {
    const result = await createVerifier().verify(await keys.sign(streamClaims({ org_id: claim })));
    expect(result).toMatchObject({ kind: 'valid', claims: { orgId } });
  });

  test.each([
    ['org_id', undefined],
    ['org_id', null],
    ['org_id', -1],
    ['org_id', 1.5],
    ['org_id', 2 ** 53],
    ['org_id', ''],
    ['org_id', '+1'],
    ['org_id', '0x10'],
    ['org_id', '01'],
    ['org_id', '18446744073709551616'],
    ['org_id', [7]],
    ['channel_id', undefined],
    ['channel_id', 7],
    ['channel_id', ''],
    ['channel_id', CHANNEL_ID.slice(1)],
    ['channel_id', `${CHANNEL_ID}\n`],
    ['channel_ids', []],
    ['channel_ids', CHANNEL_ID],
    ['channel_ids', [CHANNEL_ID, 'x']],
    ['channel_ids', [7]],
    ['channel_ids', null],
    ['iss', undefined],
    ['iss', 'another'],
    ['iss', [ISSUER]],
    ['aud', undefined],
    ['aud', 'another'],
    ['aud', ['another']],
    ['aud', []],
    ['exp', undefined],
    ['exp', null],
    ['exp', `${NOW_SEC + 60}`],
    ['exp', 1e300],
    ['nbf', NOW_SEC + 60],
    ['nbf', 'now'],
  ])('%s %o is invalid', async (claim, value) => {
    expect(await kindOf(await keys.sign(streamClaims({ [claim]: value })))).toBe('invalid');
  });

  test('one of several audiences is ours', async () => {
    expect(await kindOf(await keys.sign(streamClaims({ aud: ['another', AUDIENCE] })))).toBe('valid');
  });
});

describe('expiry', () => {
  test.each([
    [4, 'valid'],
    [6, 'expired'],
  ])('a token that expired %i s ago is %s', async (agoSec, kind) => {
    expect(await kindOf(await keys.sign(streamClaims({ exp: NOW_SEC - agoSec })))).toBe(kind);
  });

  test.each([
    [4, 'valid'],
    [6, 'invalid'],
  ])('a token that begins in %i s is %s', async (inSec, kind) => {
    expect(await kindOf(await keys.sign(streamClaims({ nbf: NOW_SEC + inSec })))).toBe(kind);
  });

  test('is looked at each time, also of a cached token', async () => {
    let nowMs = NOW_MS;
    const verifier = createVerifier({ now: () => nowMs });
    const token = await keys.sign(streamClaims({ exp: NOW_SEC + 10 }));
    await verifier.verify(token);
    nowMs += 14_999;
    expect(verifier.verifyCached(token)?.kind).toBe('valid');
    nowMs += 1;
    expect(verifier.verifyCached(token)?.kind).toBe('expired');
    expect((await verifier.verify(token)).kind).toBe('expired');
  });
});

describe('forgery', () => {
  test('none is no algorithm', async () => {
    for (const alg of ['none', 'None', '', null, undefined]) {
      expect(await kindOf(unsigned({ alg }, streamClaims()))).toBe('invalid');
      expect(await kindOf(unsigned({ alg }, streamClaims(), ''))).toBe('invalid');
    }
  });

  test('the public key is no HMAC secret', async () => {
    for (const secret of [keys.publicPem, keys.publicPem.trim()]) {
      const body = unsigned({ alg: 'HS256' }, streamClaims()).split('.').slice(0, 2).join('.');
      const signature = createHmac('sha256', secret).update(body).digest('base64url');
      expect(await kindOf(`${body}.${signature}`)).toBe('invalid');
    }
  });

  test('a key is good for its own algorithm only', async () => {
    for (const alg of ['RS384', 'PS256', 'ES256', 'EdDSA', 'HS256']) {
      expect(await kindOf(unsigned({ alg }, streamClaims()))).toBe('invalid');
    }
  });

  test('another key, a changed payload, a cut or padded signature', async () => {
    const token = await keys.sign(streamClaims());
    const [header, , signature] = token.split('.');
    const payload = unsigned({}, streamClaims({ org_id: 8 })).split('.')[1];
    expect(await kindOf(token)).toBe('valid');
    expect(await kindOf(await makeKeys('RS256').sign(streamClaims()))).toBe('invalid');
    expect(await kindOf(`${header}.${payload}.${signature}`)).toBe('invalid');
    expect(await kindOf(token.slice(0, -4))).toBe('invalid');
    expect(await kindOf(`${token}AAAA`)).toBe('invalid');
    expect(await kindOf(`${token}=`)).toBe('invalid');
  });

  test('what a token says about its own key is not believed', async () => {
    const thief = makeKeys('ES256');
    const jwk = await thief.jwk();
    for (const header of [{ jwk }, { jku: 'http://127.0.0.1/jwks' }, { kid: '../../dev/null' }, { x5c: ['AA'] }]) {
      expect(await kindOf(await thief.sign(streamClaims(), header))).toBe('invalid');
    }
  });

  test('extensions that must be understood are not', async () => {
    expect(await kindOf(unsigned({ alg: 'RS256', crit: ['b64'], b64: false }, streamClaims()))).toBe('invalid');
  });
});

describe('cost', () => {
  test.each([
    ['empty', ''],
    ['no token', 'token'],
    ['two parts', 'a.b'],
    ['four parts', 'a.b.c.d'],
    ['other characters', 'a.b.c\0'],
    ['no JSON', 'a.b.c'],
    ['JSON of another kind', `${Buffer.from('[]').toString('base64url')}.e30.c2ln`],
    ['a kid of another kind', unsigned({ alg: 'RS256', kid: {} }, streamClaims())],
    ['another algorithm', unsigned({ alg: 'HS256' }, streamClaims())],
    ['another issuer', unsigned({ alg: 'RS256' }, streamClaims({ iss: 'another' }))],
    ['another audience', unsigned({ alg: 'RS256' }, streamClaims({ aud: 'another' }))],
    ['no channel', unsigned({ alg: 'RS256' }, streamClaims({ channel_id: undefined }))],
    ['expired', unsigned({ alg: 'RS256' }, streamClaims({ exp: NOW_SEC - 100 }))],
    ['huge', unsigned({ alg: 'RS256' }, streamClaims({ pad: 'x'.repeat(1_000_000) }))],
  ])('a bad token is refused without a key: %s', async (_, token) => {
    const keySource = counted(source);
    expect((await createVerifier({ keys: keySource }).verify(token)).kind).not.toBe('valid');
    expect(keySource.asked).toBe(0);
  });

  test('8 KiB are a token, more are not', async () => {
    const ofLength = async (padding: number) => keys.sign(streamClaims({ jti: 'id', pad: 'x'.repeat(padding) }));
    const base = (await ofLength(0)).length;
    // Four characters of base64 for three bytes.
    const padding = Math.floor(((8192 - base) * 3) / 4);
    const [fits, tooLong] = [await ofLength(padding), await ofLength(padding + 3)];
    expect(fits.length).toBeLessThanOrEqual(8192);
    expect(tooLong.length).toBeGreaterThan(8192);
    expect([await kindOf(fits), await kindOf(tooLong)]).toEqual(['valid', 'invalid']);
  });
});

describe('cache', () => {
  test('remembers valid tokens only', async () => {
    const verifier = createVerifier();
    const bad = await makeKeys('RS256').sign(streamClaims());
    const good = await keys.sign(streamClaims());
    expect([verifier.verifyCached(bad), verifier.verifyCached(good)]).toEqual([undefined, undefined]);
    const [, result] = [await verifier.verify(bad), await verifier.verify(good)];
    expect(verifier.verifyCached(bad)).toBeUndefined();
    expect(verifier.verifyCached(good)).toBe(result);
  });

  test('asks for keys once for a token, and again when it is half a minute old', async () => {
    let nowMs = NOW_MS;
    const keySource = counted(source);
    const verifier = createVerifier({ keys: keySource, now: () => nowMs });
    const token = await keys.sign(streamClaims());
    for (let i = 0; i < 5; i++) await verifier.verify(token);
    expect(keySource.asked).toBe(1);
    nowMs += 30_000;
    expect(verifier.verifyCached(token)).toBeUndefined();
    expect((await verifier.verify(token)).kind).toBe('valid');
    expect(keySource.asked).toBe(2);
  });

  test("asks again when the clock was set back, which says nothing about a token's age", async () => {
    let nowMs = NOW_MS;
    const verifier = createVerifier({ now: () => nowMs });
    const token = await keys.sign(streamClaims());
    await verifier.verify(token);
    nowMs -= 3_600_000;
    expect(verifier.verifyCached(token)).toBeUndefined();
    expect((await verifier.verify(token)).kind).toBe('valid');
    nowMs += 29_999;
    expect(verifier.verifyCached(token)?.kind).toBe('valid');
    nowMs += 1;
    expect(verifier.verifyCached(token)).toBeUndefined();
  });

  test('is bounded in entries', async () => {
    const verifier = createVerifier({ cacheEntries: 2 });
    const tokens = await Promise.all([1, 2, 3].map(() => keys.sign(streamClaims())));
    for (const token of tokens) await verifier.verify(token);
    expect(tokens.map((token) => verifier.verifyCached(token)?.kind)).toEqual([undefined, 'valid', 'valid']);
  });

  test('is emptied when keys change, and takes nothing that was verified with the ones before', async () => {
    const inner = keysFromPem({ name: 'KEY', pem: keys.publicPem });
    let generation = 0;
    let onAsked = (): void => {};
    const rotating: KeySource = {
      algorithms: inner.algorithms,
      get generation() {
        return generation;
      },
      async candidates(header) {
        onAsked();
        return inner.candidates(header);
      },
    };
    const verifier = createVerifier({ keys: rotating });
    const token = await keys.sign(streamClaims());
    await verifier.verify(token);
    expect(verifier.verifyCached(token)?.kind).toBe('valid');
    generation++;
    expect(verifier.verifyCached(token)).toBeUndefined();

    onAsked = () => {
      generation++;
    };
    expect((await verifier.verify(token)).kind).toBe('valid');
    expect(verifier.verifyCached(token)).toBeUndefined();
  });

  test('hands out claims that nobody can change', async () => {
    const verifier = createVerifier();
    const result = await verifier.verify(await keys.sign(streamClaims()));
    expect(Object.isFrozen(result) && result.kind === 'valid' && Object.isFrozen(result.claims)).toBe(true);
  });
});

test('a secret source never verifies an asymmetric token, whatever its bytes', async () => {
  const verifier = createVerifier({ keys: keysFromSecret({ name: 'SECRET', secret: keys.publicPem }) });
  expect((await verifier.verify(await keys.sign(streamClaims()))).kind).toBe('invalid');
});
