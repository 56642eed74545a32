import fc from 'fast-check';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { ActiveLimit } from '#lib/limits/limits.ts';
import { AUTH, EVENT_ID, KEY, OTHER_KEY, QUEUED, startEndpoint } from './http-testing.ts';

const ITEM = '{"type":"event"}\n{"message":"hello"}\n';
const ENVELOPE = `{"event_id":"${EVENT_ID}"}\n${ITEM}`;
const WITH_DSN = `{"event_id":"${EVENT_ID}","dsn":"https://${KEY}@host/42"}\n${ITEM}`;

describe('paths', () => {
  test.each([
    ['POST', '/api/42/envelope/', ENVELOPE],
    ['POST', '/api/42/envelope', ENVELOPE],
    ['POST', '//api///42//envelope//', ENVELOPE],
    ['POST', `/api/42/envelope/?sentry_key=${KEY}&sentry_version=7`, ENVELOPE],
    ['POST', '/api/42/store/', '{}'],
    ['POST', '/api/42/store', '{}'],
    ['POST', '/api/store/', '{}'],
    ['POST', '/api/store', '{}'],
  ])('%s %s', async (method, path, body) => {
    const endpoint = await startEndpoint();
    const headers = path.includes('sentry_key') ? {} : AUTH;
    expect(await endpoint.ask(path, { method, headers, body })).toMatchObject({ status: 200 });
    expect(endpoint.intake.only.sender.projectId).toBe(path.startsWith('/api/store') ? undefined : 42n);
  });

  test.each([
    '/api',
    '/api/',
    '/api/42',
    '/api/42/',
    '/api/42/nothing/',
    '/api/42/envelope/more/',
    '/api/abc/envelope/',
    '/api/-1/envelope/',
    `/api/${'9'.repeat(20)}/envelope/`,
    '/api/envelope/',
    '/api/42/events/attachments/',
    '/api/relay/healthcheck/',
  ])('%s is not there', async (path) => {
    const endpoint = await startEndpoint();
    const answer = await endpoint.post(path, ENVELOPE);
    expect(answer.status).toBe(404);
    expect(JSON.parse(answer.text)).toEqual({ detail: 'there is no such path', causes: [] });
    expect(answer.header('access-control-allow-origin')).toEqual(['*']);
  });

  test.each(['/api/0/relays/projectconfigs/', '//api/0//relays/live/', '/', '/apiary/', '/v1/api/'])(
    "%s is somebody else's",
    async (path) => {
      const { text } = await (await startEndpoint()).post(path);
      expect(text).not.toContain('detail');
    },
  );

  test.each([
    ['GET', '/api/42/envelope/', 'POST'],
    ['PUT', '/api/42/store/', 'POST, GET'],
    ['POST', '/api/relay/healthcheck/live/', 'GET, HEAD'],
  ])('%s %s is 405', async (method, path, allow) => {
    const answer = await (await startEndpoint()).ask(path, { method, headers: AUTH });
    expect(answer.status).toBe(405);
    expect(answer.header('allow')).toEqual([allow]);
  });

  test('health', async () => {
    const endpoint = await startEndpoint({ isReady: () => false });
    for (const [path, status] of [
      ['live', 200],
      ['ready', 503],
    ] as const) {
      const answer = await endpoint.ask(`/api/relay/healthcheck/${path}/`);
      expect([answer.status, JSON.parse(answer.text)]).toEqual([status, { is_healthy: status === 200 }]);
    }
  });
});

describe('cross-origin', () => {
  const always = {
    'cross-origin-resource-policy': ['cross-origin'],
    'access-control-allow-origin': ['*'],
    'access-control-expose-headers': ['x-sentry-error, x-sentry-rate-limits, retry-after'],
  };
  test('every answer says so', async () => {
    const endpoint = await startEndpoint();
    for (const body of [ENVELOPE, 'bad', '']) {
      const answer = await endpoint.post('/api/42/envelope/', body);
      for (const [name, value] of Object.entries(always)) expect(answer.header(name)).toEqual(value);
    }
  });
  test.each(['/api/42/envelope/', '/api/42/store/', '/api/nothing'])('preflight of %s', async (path) => {
    const answer = await (await startEndpoint()).ask(path, {
      method: 'OPTIONS',
      headers: { origin: 'https://page', 'access-control-request-method': 'POST' },
    });
    expect([answer.status, answer.text]).toEqual([200, '']);
    for (const [name, value] of Object.entries(always)) expect(answer.header(name)).toEqual(value);
    expect(answer.header('access-control-allow-methods')).toEqual(['POST']);
    expect(answer.header('access-control-max-age')).toEqual(['3600']);
    const allowed = answer.header('access-control-allow-headers')[0]?.split(', ');
    for (const name of ['x-sentry-auth', 'content-type', 'content-encoding', 'authorization', 'x-forwarded-for']) {
      expect(allowed).toContain(name);
    }
  });
});

describe('answers', () => {
  const limit = (more: Partial<ActiveLimit> = {}): ActiveLimit => ({
    scope: 'key',
    scopeId: 1n,
    categories: ['error'],
    reasonCode: 'quota',
    untilMs: Date.now() + 29_001,
    ...more,
  });

  test('an event is answered with its id, anything else with none', async () => {
    const endpoint = await startEndpoint();
    const ids = async (body: string) => JSON.parse((await endpoint.post('/api/42/envelope/', body)).text) as unknown;
    expect(await ids(ENVELOPE)).toEqual({ id: EVENT_ID });
    expect(await ids(`{"event_id":"${EVENT_ID}"}\n{"type":"transaction"}\n{}`)).toEqual({ id: EVENT_ID });
    expect(await ids(`{}\n${ITEM}`)).toEqual({ id: expect.stringMatching(/^[0-9a-f]{32}$/) });
    expect(await ids('{}')).toEqual({});
    expect(await ids('{}\n{"type":"unheard_of"}\nx')).toEqual({});
    expect(await ids(`{"event_id":"${EVENT_ID}"}\n{"type":"attachment"}\nx`)).toEqual({});
  });

  test.each(['limited', 'queued'] as const)('over a limit, though %s: 429', async (kind) => {
    const endpoint = await startEndpoint();
    // What is left is told in seconds.
    vi.useFakeTimers({ toFake: ['Date'] });
    onTestFinished(() => void vi.useRealTimers());
    const all = limit({ scope: 'organization', categories: [], reasonCode: undefined, untilMs: Date.now() + 59_001 });
    const limits = [limit(), all];
    endpoint.intake.answer = () => (kind === 'limited' ? { kind, limits } : { ...QUEUED, limits });
    const answer = await endpoint.post('/api/42/envelope/', ENVELOPE);
    expect([answer.status, answer.header('retry-after')]).toEqual([429, ['60']]);
    expect(answer.header('x-sentry-rate-limits')).toEqual(['30:error:key:quota, 60::organization']);
    expect(JSON.parse(answer.text)).toEqual({ detail: 'over a limit', causes: [] });
  });

  test.each(['project_disabled', 'project_id', 'origin'] as const)('refused for %s: 403', async (reason) => {
    const endpoint = await startEndpoint();
    endpoint.intake.answer = () => ({ kind: 'refused', reason });
    const answer = await endpoint.post('/api/42/store/', '{}');
    expect(answer.status).toBe(403);
    expect(answer.header('x-sentry-error')).toEqual([(JSON.parse(answer.text) as { detail: string }).detail]);
    expect(endpoint.invalid).toEqual([]);
  });

  test('overloaded: 503', async () => {
    const endpoint = await startEndpoint();
    endpoint.intake.answer = () => ({ kind: 'overloaded' });
    const answer = await endpoint.post('/api/42/envelope/', ENVELOPE);
    expect([answer.status, answer.header('retry-after')]).toEqual([503, ['1']]);
  });

  test('a bug is a 500 that says nothing, and is told', async () => {
    const endpoint = await startEndpoint();
    const bug = new Error('at 10.0.0.7');
    endpoint.intake.answer = () => {
      throw bug;
    };
    const answer = await endpoint.post('/api/42/envelope/', ENVELOPE);
    expect([answer.status, JSON.parse(answer.text)]).toEqual([500, { detail: 'internal error', causes: [] }]);
    expect(endpoint.errors).toEqual([bug]);
  });
});

describe('envelopes', () => {
  test.each([
    [400, ''],
    [400, 'bad'],
    [400, '{"event_id":"x"}'],
    [400, `{}\n${'{"type":"a"}\n\n'.repeat(501)}`],
    [413, `{}\n${ITEM}${ITEM}`],
    [413, `{}\n{"type":"event"}\n${'x'.repeat(1024 * 1024 + 1)}`],
  ])('%i', async (status, body) => {
    const endpoint = await startEndpoint();
    const answer = await endpoint.post('/api/42/envelope/', body);
    expect(answer.status).toBe(status);
    expect(endpoint.intake.received).toEqual([]);
    expect(endpoint.invalid).toMatchObject([{ sender: { publicKey: KEY, projectId: 42n }, category: 'error' }]);
  });

  test('their DSN is who they are from, where nothing else says', async () => {
    const endpoint = await startEndpoint();
    expect((await endpoint.post('/api/42/envelope/', WITH_DSN, {})).status).toBe(200);
    expect(endpoint.intake.only.sender).toMatchObject({ publicKey: KEY, projectId: 42n });
    expect((await endpoint.post('/api/42/envelope/', ENVELOPE, {})).status).toBe(401);
    expect((await endpoint.post('/api/43/envelope/', WITH_DSN, {})).status).toBe(400);
  });

  test.each([
    [200, WITH_DSN, {}],
    [200, WITH_DSN.replace('@host/42', ':secret@host:9000/path/42'), {}],
    [400, WITH_DSN.replace(KEY, OTHER_KEY), {}],
    [400, WITH_DSN.replace('/42', '/43'), {}],
    [400, WITH_DSN.replace('https://', ''), {}],
    [200, `{"origin":"https://a"}\n${ITEM}`, {}],
    [200, `{"origin":"https://a"}\n${ITEM}`, { origin: 'https://a' }],
    [400, `{"origin":"https://a"}\n${ITEM}`, { origin: 'https://b' }],
  ])('%i where %j says who sends it', async (status, body, headers) => {
    expect((await (await startEndpoint()).post('/api/42/envelope/', body, { ...AUTH, ...headers })).status).toBe(
      status,
    );
  });

  test('of whatever content type', async () => {
    const endpoint = await startEndpoint();
    for (const type of ['text/plain;charset=UTF-8', 'application/x-sentry-envelope', 'multipart/form-data', 'x']) {
      expect((await endpoint.post('/api/42/envelope/', ENVELOPE, { ...AUTH, 'content-type': type })).status).toBe(200);
    }
  });
});

test('the sender is what headers say', async () => {
  const endpoint = await startEndpoint();
  const before = Date.now();
  await endpoint.post('/api/42/envelope/', ENVELOPE, {
    ...AUTH,
    'x-forwarded-for': '203.0.113.7, 10.0.0.1',
    'user-agent': 'agent/1',
    referer: 'https://page/path',
  });
  const { sender, sizeBytes } = endpoint.intake.only;
  expect(sender).toMatchObject({
    publicKey: KEY,
    projectId: 42n,
    remoteAddr: '203.0.113.7',
    origin: 'https://page/path',
    userAgent: 'agent/1',
    client: 'test/1.0',
  });
  expect(sender.receivedMs).toBeGreaterThanOrEqual(before);
  expect(sizeBytes).toBeGreaterThan(ENVELOPE.length);
});

test('mutated requests are answered, and never with a 500', async () => {
  const endpoint = await startEndpoint();
  const paths = ['envelope', 'store', 'security', 'minidump', 'csp-report', `events/${EVENT_ID}/attachments`];
  const types = ['application/json', 'multipart/form-data; boundary=x', 'multipart/form-data', 'text/plain'];
  const parts = [
    ENVELOPE,
    '{"a":1}',
    '--x\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\nx\r\n--x--\r\n',
  ];
  const request = fc.record({
    path: fc.constantFrom(...paths),
    type: fc.constantFrom(...types),
    encoding: fc.constantFrom('', 'gzip', 'deflate', 'br', 'zstd', 'utf-8', 'x'),
    body: fc.constantFrom(...parts),
    changes: fc.array(fc.record({ at: fc.nat(200), byte: fc.integer({ min: 0, max: 255 }) }), { maxLength: 4 }),
  });
  await fc.assert(
    fc.asyncProperty(request, async ({ path, type, encoding, body, changes }) => {
      const bytes = Buffer.from(body);
      for (const { at, byte } of changes) if (at < bytes.length) bytes[at] = byte;
      const headers = { ...AUTH, 'content-type': type, 'content-encoding': encoding };
      const { status } = await endpoint.post(`/api/42/${path}/`, bytes, headers);
      expect([200, 201, 400, 413, 415]).toContain(status);
    }),
    { numRuns: 400 },
  );
  expect(endpoint.errors).toEqual([]);
});
