import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, onTestFinished, test, vi } from 'vitest';
import { keyOf } from './lookup-testing.ts';
import { loadOrCreateRelayIdentity } from './relay-identity.ts';
import { createSentryConfigSource } from './sentry-config-source.ts';
import { createSentryUpstream, type SentryUpstreamOptions, STOP_MS } from './sentry-upstream.ts';

// What a Sentry upstream may answer, said by the test. Ours, for real: test/flows/relay-projects.test.ts.

const CONFIGS = '/api/0/relays/projectconfigs/?version=3';
const CHALLENGE = '/api/0/relays/register/challenge/';
const RESPONSE = '/api/0/relays/register/response/';
const never = new AbortController().signal;
const KEY = keyOf(1);

interface Asked {
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>>;
}
type Answer = { readonly status?: number; readonly json: unknown; readonly headers?: Record<string, string> };

async function start(options: Partial<SentryUpstreamOptions> = {}) {
  const asked: Asked[] = [];
  let answer: (asked: Asked) => Answer | 'silence' = () => ({ json: { configs: {} } });
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const one = { path: request.url ?? '', body: JSON.parse(Buffer.concat(chunks).toString()) };
      asked.push(one);
      const answered = answer(one);
      if (answered === 'silence') return;
      const { status = 200, json, headers = {} } = answered;
      const text = typeof json === 'string' ? json : JSON.stringify(json);
      response.writeHead(status, { ...headers, 'content-encoding': 'gzip' }).end(gzipSync(text));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const dir = await mkdtemp(join(tmpdir(), 'tideway-relay-'));
  onTestFinished(async () => {
    server.closeAllConnections();
    server.close();
    await rm(dir, { recursive: true, force: true });
  });
  const identity = await loadOrCreateRelayIdentity(dir);
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const source = createSentryConfigSource({ upstream: createSentryUpstream({ url, identity, ...options }) });
  return {
    asked,
    identity,
    lookup: (keys: readonly (readonly [string, bigint])[]) =>
      source.lookup(
        keys.map(([publicKey, revision]) => ({ publicKey, revision })),
        never,
      ),
    answer(by: typeof answer) {
      answer = by;
    },
  };
}

const state = (rev: unknown) => ({ projectId: 42, rev, config: {} });

test('each kind of answer, and revisions that are numbers or any text', async () => {
  const { asked, lookup, answer } = await start();
  const keys = [1, 2, 3, 4, 5, 6, 7].map(keyOf);
  answer(() => ({
    json: {
      configs: {
        [keyOf(1)]: state('17'),
        [keyOf(2)]: state('b7c4e1d0'),
        [keyOf(3)]: null,
        [keyOf(5)]: { projectId: 'x' },
        [keyOf(6)]: state(null),
      },
      pending: [keyOf(4)],
      unchanged: [keyOf(7)],
    },
  }));
  const answers = await lookup(keys.map((key) => [key, key === keyOf(7) ? 5n : 0n] as const));
  expect(answers.map(({ kind }) => kind)).toEqual([
    'enabled',
    'enabled',
    'disabled',
    'pending',
    'pending',
    'enabled',
    'unchanged',
  ]);
  expect(asked[0]).toEqual({
    path: CONFIGS,
    body: { publicKeys: keys, revisions: [null, null, null, null, null, null, '5'], fullConfig: true, noCache: false },
  });
  const revisions = answers.map((one) => (one.kind === 'enabled' ? one.config.revision : 0n));
  expect([revisions[0], revisions[5]]).toEqual([17n, 0n]);
  expect(revisions[1]).toBeGreaterThan(0n);
  await lookup([
    [keyOf(1), 17n],
    [keyOf(2), revisions[1] ?? 0n],
    [keyOf(6), 0n],
    // The cache has another one than was last answered.
    [keyOf(2), 3n],
  ]);
  expect(asked[1]?.body['revisions']).toEqual(['17', 'b7c4e1d0', null, null]);
});

test('without configs an answer is none: nothing is disabled by it', async () => {
  const { lookup, answer } = await start();
  for (const json of ['', 'null', '[]', '{}', '{"configs":null}', '<html>']) {
    answer(() => ({ json }));
    await expect(lookup([[KEY, 0n]])).rejects.toThrow();
  }
});

test('a relay that is not known registers, once for all that ask, and asks again', async () => {
  const { asked, identity, lookup, answer } = await start();
  const { id, publicKey } = identity;
  let isRegistered = false;
  answer(({ path }) => {
    if (path === CHALLENGE) return { json: { relay_id: id, token: 'a token' } };
    if (path === RESPONSE) isRegistered = true;
    else if (!isRegistered) return { status: 401, json: { detail: 'unknown relay' } };
    return { json: { configs: { [KEY]: state('1') } } };
  });
  const answers = await Promise.all([1, 2, 3].map(() => lookup([[KEY, 0n]])));
  expect(answers.map(([one]) => one?.kind)).toEqual(['enabled', 'enabled', 'enabled']);
  const registrations = asked.filter(({ path }) => path !== CONFIGS).slice(0, 2);
  expect(registrations).toEqual([
    { path: CHALLENGE, body: { relay_id: id, public_key: publicKey, version: expect.any(String) } },
    { path: RESPONSE, body: { relay_id: id, token: 'a token', version: expect.any(String) } },
  ]);
});

test('told to stop, it does not ask any more', async () => {
  const { asked, lookup, answer } = await start();
  answer(({ path }) =>
    path === CONFIGS ? { status: 401, json: {} } : { status: 403, json: { detail: 'go away', relay: 'stop' } },
  );
  await expect(lookup([[KEY, 0n]])).rejects.toMatchObject({
    reason: 'stopped',
    message: expect.stringMatching('go away'),
  });
  await expect(lookup([[KEY, 0n]])).rejects.toMatchObject({ reason: 'stopped' });
  expect(asked.map(({ path }) => path)).toEqual([CONFIGS, CHALLENGE]);
});

test('told to stop, it asks again in its time, also if the clock was set back', async () => {
  const { lookup, answer } = await start();
  answer(() => ({ status: 403, json: { relay: 'stop' } }));
  await expect(lookup([[KEY, 0n]])).rejects.toMatchObject({ reason: 'stopped' });
  answer(() => ({ json: { configs: {} } }));
  const [dateMs, ownMs] = [Date.now(), performance.now()];
  vi.spyOn(Date, 'now').mockReturnValue(dateMs - 3_600_000);
  vi.spyOn(performance, 'now').mockReturnValue(ownMs + STOP_MS + 1_000);
  onTestFinished(() => void vi.restoreAllMocks());
  expect(await lookup([[KEY, 0n]])).toEqual([{ kind: 'disabled' }]);
});

test('a refusal that registering does not mend, an error, silence, a redirect', async () => {
  const { asked, lookup, answer } = await start({ timeoutMs: 300 });
  answer(({ path }) => (path === CONFIGS ? { status: 403, json: {} } : { json: { token: 'a token' } }));
  await expect(lookup([[KEY, 0n]])).rejects.toMatchObject({ status: 403 });
  expect(asked).toHaveLength(4);
  answer(() => ({ status: 503, json: { detail: 'x'.repeat(10_000) } }));
  const error: Error = await lookup([[KEY, 0n]]).catch((thrown) => thrown);
  expect(error.message.length).toBeLessThan(300);
  answer(() => 'silence');
  await expect(lookup([[KEY, 0n]])).rejects.toMatchObject({ name: 'TimeoutError' });
  answer(() => ({ status: 307, json: {}, headers: { location: 'http://127.0.0.1:1/' } }));
  await expect(lookup([[KEY, 0n]])).rejects.toThrow();
});

test('an answer that is too large is asked for in halves, and read no further than its limit', async () => {
  const { asked, lookup, answer } = await start({ maxResponseBytes: 4_096 });
  answer(({ body }) => ({
    json: {
      configs: Object.fromEntries(
        (body['publicKeys'] as string[]).map((key) => [key, { ...state('1'), padding: 'x'.repeat(1_500) }]),
      ),
    },
  }));
  const keys = [1, 2, 3, 4, 5].map((n) => [keyOf(n), 0n] as const);
  expect((await lookup(keys)).map(({ kind }) => kind)).toEqual(keys.map(() => 'enabled'));
  expect(asked.map(({ body }) => (body['publicKeys'] as string[]).length)).toEqual([5, 2, 3, 1, 2]);
  answer(() => ({ json: ' '.repeat(50_000_000) }));
  await expect(lookup([[KEY, 0n]])).rejects.toMatchObject({ reason: 'too_large' });
});
