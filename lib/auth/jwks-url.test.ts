import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { JWK } from 'jose';
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { keysFromJwks } from './jwks-location.ts';
import { type JwksUrlTimings, keysFromJwksUrl } from './jwks-url.ts';
import { KeysUnavailableError } from './key-source.ts';
import { createStreamTokenVerifier } from './stream-token.ts';
import { AUDIENCE, ISSUER, makeKeys, NOW_MS, NOW_SEC, streamClaims } from './testing.ts';

const name = 'GATEWAY_JWT_JWKS';
const [first, second] = [makeKeys('RS256'), makeKeys('RS256')];
let server: Server;
let requests: number;
let answer: (response: ServerResponse) => void;
let nowMs: number;
const now = () => nowMs;

beforeEach(async () => {
  requests = 0;
  nowMs = NOW_MS;
  server = createServer((_, response) => {
    requests++;
    answer(response);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

function serve(keys: JWK[]): void {
  answer = (response) => response.end(JSON.stringify({ keys }));
}

function fail(): void {
  answer = (response) => response.writeHead(503).end();
}

function startVerifier(timings: Partial<JwksUrlTimings> = {}) {
  const problems: string[] = [];
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`;
  const keys = keysFromJwksUrl({ name, url, timings, now, onProblem: (error) => problems.push(error.message) });
  const verifier = createStreamTokenVerifier({ keys, issuer: ISSUER, audience: AUDIENCE, now });
  return { verifier, problems, kindOf: async (token: string) => (await verifier.verify(token)).kind };
}

const long = () => streamClaims({ exp: NOW_SEC + 3600 });

test('fetches with the first token, once for many', async () => {
  serve([await first.jwk('1')]);
  const { kindOf } = startVerifier();
  expect(requests).toBe(0);
  const tokens = await Promise.all(Array.from({ length: 20 }, () => first.sign(long(), { kid: '1' })));
  expect(new Set(await Promise.all(tokens.map(kindOf)))).toEqual(new Set(['valid']));
  expect(requests).toBe(1);
});

test('a new key is fetched when a token names it, but bad tokens cause one fetch in each cool-down', async () => {
  serve([await first.jwk('1')]);
  const { kindOf } = startVerifier();
  expect(await kindOf(await first.sign(long(), { kid: '1' }))).toBe('valid');
  serve([await first.jwk('1'), await second.jwk('2')]);
  nowMs += 5000;
  expect(await kindOf(await second.sign(long(), { kid: '2' }))).toBe('valid');
  expect(requests).toBe(2);

  for (let i = 0; i < 20; i++) expect(await kindOf(await first.sign(long(), { kid: `bad-${i}` }))).toBe('invalid');
  expect(requests).toBe(2);
  nowMs += 5000;
  for (let i = 0; i < 20; i++) expect(await kindOf(await first.sign(long(), { kid: `bad-${i}` }))).toBe('invalid');
  expect(requests).toBe(3);
});

test("keys are fetched also when the system's clock was set back", async () => {
  serve([await first.jwk('1')]);
  vi.useFakeTimers({ toFake: ['Date'] });
  onTestFinished(() => void vi.useRealTimers());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`;
  const keys = keysFromJwksUrl({ name, url, timings: { cooldownMs: 0 } });
  expect(await keys.candidates({ alg: 'RS256', kid: '1' })).toHaveLength(1);
  vi.setSystemTime(Date.now() - 3_600_000);
  serve([await first.jwk('1'), await second.jwk('2')]);
  expect(await keys.candidates({ alg: 'RS256', kid: '2' })).toHaveLength(1);
});

test('a removed key is refused within a minute, cached or not', async () => {
  serve([await first.jwk('1')]);
  const { verifier, kindOf } = startVerifier();
  const token = await first.sign(long());
  expect(await kindOf(token)).toBe('valid');
  // The fetch changed the keys while this token was verified, so it is only the next time that it is remembered.
  expect(await kindOf(token)).toBe('valid');
  expect(verifier.verifyCached(token)?.kind).toBe('valid');
  serve([await second.jwk('2')]);
  nowMs += 60_000;
  expect(verifier.verifyCached(token)).toBeUndefined();
  expect(await kindOf(token)).toBe('invalid');
  expect(await kindOf(await second.sign(long()))).toBe('valid');
});

test('keys of some age are fetched again beside the work', async () => {
  serve([await first.jwk('1')]);
  const { kindOf } = startVerifier();
  expect(await kindOf(await first.sign(long()))).toBe('valid');
  let release = (): void => {};
  const asked = new Promise<void>((resolve) => {
    answer = (response) => {
      release = () => void second.jwk('2').then((jwk) => response.end(JSON.stringify({ keys: [jwk] })));
      resolve();
    };
  });
  nowMs += 15_000;
  expect(await kindOf(await first.sign(long()))).toBe('valid');
  await asked;
  release();
  await expect.poll(async () => kindOf(await first.sign(long())), { timeout: 10_000 }).toBe('invalid');
});

test('while the URL is away the last keys are good for ten minutes, then tokens are unavailable, not invalid', async () => {
  serve([await first.jwk('1')]);
  const { kindOf, problems } = startVerifier();
  expect(await kindOf(await first.sign(long()))).toBe('valid');
  fail();
  nowMs += 9 * 60_000;
  expect(await kindOf(await first.sign(long()))).toBe('valid');
  nowMs += 60_000;
  await expect(kindOf(await first.sign(long()))).rejects.toThrow(KeysUnavailableError);
  serve([await first.jwk('1')]);
  nowMs += 5000;
  expect(await kindOf(await first.sign(long()))).toBe('valid');
  expect(new Set(problems)).toEqual(new Set([`the keys of ${name} can't be fetched`]));
});

test('a URL that hangs holds up tokens once, and then not', async () => {
  serve([await first.jwk('1')]);
  const { kindOf, problems } = startVerifier({ timeoutMs: 50 });
  expect(await kindOf(await first.sign(long()))).toBe('valid');
  answer = () => {};
  nowMs += 31_000;
  expect(await kindOf(await first.sign(long()))).toBe('valid');
  expect(problems).toHaveLength(1);
  nowMs += 5000;
  // The next fetch hangs too; the answer does not wait for its failure.
  expect(await kindOf(await first.sign(long()))).toBe('valid');
  expect(problems).toHaveLength(1);
});

test.each([
  ['an error', (response: ServerResponse) => response.writeHead(500).end()],
  ['a redirect', (response: ServerResponse) => response.writeHead(302, { location: '/elsewhere' }).end()],
  ['no JSON', (response: ServerResponse) => response.end('<html>')],
  ['too many bytes', (response: ServerResponse) => response.end(' '.repeat(300 * 1024))],
  ['a reset', (response: ServerResponse) => response.destroy()],
  ['nothing', () => {}],
])('%s is no answer: unavailable, and asked again after the cool-down only', async (_, bad) => {
  answer = bad;
  const { kindOf } = startVerifier({ timeoutMs: 1000 });
  const token = await first.sign(long());
  await expect(kindOf(token)).rejects.toThrow(KeysUnavailableError);
  const asked = requests;
  await expect(kindOf(token)).rejects.toThrow(KeysUnavailableError);
  expect(requests).toBe(asked);
  serve([await first.jwk()]);
  nowMs += 5000;
  expect(await kindOf(token)).toBe('valid');
});

test('a set without a usable key is told as such', async () => {
  serve([{ kty: 'oct', k: 'c2VjcmV0' }]);
  const { kindOf, problems } = startVerifier();
  await expect(kindOf(await first.sign(long()))).rejects.toThrow(KeysUnavailableError);
  expect(problems).toEqual([`${name}: has no key for RS256, ES256 or EdDSA`]);
});

test('a location that is no URL is refused, without its text', async () => {
  await expect(keysFromJwks({ name, location: 'http://user:sup3rsecret@:x' })).rejects.toThrow(
    new RegExp(`^${name}: is not an http or https URL$`),
  );
});
