import { deflateSync, gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { AUTH, EVENT_ID, KEY, startEndpoint } from './http-testing.ts';

const EVENT = `{"event_id":"${EVENT_ID}","message":"hello +?"}`;
const QUERY = `sentry_key=${KEY}&sentry_version=7&sentry_client=test%2F1.0`;
const MIB = 1024 * 1024;

describe('an event is stored', () => {
  test.each([
    ['as JSON', EVENT, EVENT],
    ['after space', `\n ${EVENT}`, `\n ${EVENT}`],
    ['in base64', Buffer.from(EVENT).toString('base64'), EVENT],
    ['in base64 of URLs', Buffer.from(EVENT).toString('base64url'), EVENT],
    ['compressed, in base64', deflateSync(EVENT).toString('base64'), EVENT],
    [
      'compressed, in base64 of several lines',
      deflateSync(EVENT)
        .toString('base64')
        .replace(/(.{20})/g, '$1\r\n'),
      EVENT,
    ],
  ])('%s', async (_, body, payload) => {
    const endpoint = await startEndpoint();
    const answer = await endpoint.post('/api/42/store/', body);
    expect([answer.status, answer.text]).toEqual([200, `{"id":"${EVENT_ID}"}`]);
    expect(answer.header('content-type')).toEqual(['application/json']);
    expect(endpoint.intake.items).toEqual([{ type: 'event', payload }]);
    expect(endpoint.intake.only.envelope.eventId).toBe(EVENT_ID);
  });

  test('with an encoding, too', async () => {
    const endpoint = await startEndpoint();
    const { status } = await endpoint.post('/api/42/store/', gzipSync(EVENT), { ...AUTH, 'content-encoding': 'gzip' });
    expect([status, endpoint.intake.items]).toEqual([200, [{ type: 'event', payload: EVENT }]]);
  });

  test('as the kind it says it is, with an id', async () => {
    const endpoint = await startEndpoint();
    const { text } = await endpoint.post('/api/42/store/', '{"type":"transaction"}');
    expect(JSON.parse(text)).toEqual({ id: endpoint.intake.only.envelope.eventId });
    expect(endpoint.intake.items).toMatchObject([{ type: 'transaction' }]);
  });

  test('as an envelope, if it says so', async () => {
    const endpoint = await startEndpoint();
    const type = { 'content-type': 'application/x-sentry-envelope; charset=utf-8' };
    const body = `{}\n{"type":"session"}\n{}`;
    expect((await endpoint.post('/api/42/store/', body, { ...AUTH, ...type })).text).toBe('{}');
    expect(endpoint.intake.items).toMatchObject([{ type: 'session' }]);
  });

  test('by loading an image', async () => {
    const endpoint = await startEndpoint();
    const base64 = [Buffer.from(EVENT), deflateSync(EVENT)].map((bytes) => bytes.toString('base64'));
    // Base64 is often sent as it is: its plus signs then mean spaces.
    for (const sent of [encodeURIComponent(EVENT), ...base64, ...base64.map(encodeURIComponent)]) {
      endpoint.intake.received.length = 0;
      const answer = await endpoint.ask(`/api/42/store/?${QUERY}&sentry_data=${sent}`);
      expect([answer.status, answer.header('content-type')]).toEqual([200, ['image/gif']]);
      expect(answer.text.slice(0, 10)).toBe('GIF89a\x01\0\x01\0');
      expect(endpoint.intake.items).toEqual([{ type: 'event', payload: EVENT }]);
    }
    expect(endpoint.intake.only.sender).toMatchObject({ publicKey: KEY, client: 'test/1.0' });
  });

  test.each(['raven-python/6.0', 'sentry-python/0.1', 'sentry.python/1.0'])('with NaN, of %s', async (client) => {
    const endpoint = await startEndpoint();
    const body = '{"extra":{"a":NaN,"b":[-Infinity,Infinity]}}';
    const auth = (name: string) => ({ 'x-sentry-auth': `Sentry sentry_key=${KEY},sentry_client=${name}` });
    expect((await endpoint.post('/api/42/store/', body, auth(client))).status).toBe(200);
    expect((await endpoint.post('/api/42/store/', body, auth('raven-js/1'))).status).toBe(400);
  });
});

test.each([
  [400, 'invalid_json', 'hello'],
  [400, 'invalid_json', '{"a":}'],
  [400, 'invalid_json', `${EVENT}x`],
  [400, 'invalid_json', '"{}"'],
  [400, 'invalid_json', Buffer.from('{"a"').toString('base64')],
  [400, 'empty_body', ''],
  [400, 'empty_body', ' \n'],
  [400, 'invalid_event_id', '{"event_id":"x"}'],
  [400, 'invalid_event_id', '{"event_id":7}'],
])('%i %s: %s', async (status, reason, body) => {
  const endpoint = await startEndpoint();
  const answer = await endpoint.post('/api/42/store/', body);
  expect([answer.status, JSON.parse(answer.text)]).toEqual([status, { detail: expect.any(String), causes: [] }]);
  expect(endpoint.invalid).toMatchObject([{ reason, category: 'error', sender: { publicKey: KEY } }]);
  expect(endpoint.intake.received).toEqual([]);
});

test('says who sends it, or is 401', async () => {
  const endpoint = await startEndpoint();
  expect((await endpoint.post('/api/42/store/', EVENT, {})).status).toBe(401);
  expect((await endpoint.ask(`/api/42/store/?sentry_data=${encodeURIComponent('{}')}`)).status).toBe(401);
  expect((await endpoint.post(`/api/42/store/?${QUERY}`, EVENT)).status).toBe(401);
  expect((await endpoint.post('/api/42/store/', EVENT, { ...AUTH, 'content-encoding': 'x' })).status).toBe(415);
  expect(endpoint.invalid).toEqual([]);
});

test('is held to the limit of an event, however it is sent', async () => {
  const endpoint = await startEndpoint();
  const event = (bytes: number) => `{"a":"${'x'.repeat(bytes - 8)}"}`;
  const statuses = async (bytes: number) => {
    const plain = Buffer.from(event(bytes));
    const forms = [plain, plain.toString('base64'), deflateSync(plain).toString('base64')];
    return Promise.all(forms.map(async (body) => (await endpoint.post('/api/42/store/', body)).status));
  };
  expect(await statuses(MIB)).toEqual([200, 200, 200]);
  expect(await statuses(MIB + 1)).toEqual([413, 413, 413]);
  expect(await statuses(3 * MIB)).toEqual([413, 413, 413]);
});

test('what is nearly base64 is told so in no time', async () => {
  const endpoint = await startEndpoint();
  const startedMs = performance.now();
  expect((await endpoint.post('/api/42/store/', `a${' '.repeat(MIB)}!`)).status).toBe(400);
  expect(performance.now() - startedMs).toBeLessThan(15_000);
});
