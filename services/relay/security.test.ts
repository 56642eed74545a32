import { expect, test } from 'vitest';
import { KEY, QUEUED, startEndpoint } from './http-testing.ts';

const REPORT = '{"csp-report":{"document-uri":"https://page","violated-directive":"img-src"}}';
const QUERY = `?sentry_key=${KEY}&sentry_release=my%20app@1.0&sentry_environment=production`;
const typed = (type: string) => ({ 'content-type': type });

test.each([
  ['security', 'application/json'],
  ['security', 'application/csp-report; charset=utf-8'],
  ['csp-report', 'Application/CSP-Report'],
  ['csp-report', 'application/reports+json'],
])('a report to %s as %s', async (path, type) => {
  const endpoint = await startEndpoint();
  const answer = await endpoint.post(`/api/42/${path}/${QUERY}`, REPORT, typed(type));
  expect([answer.status, answer.text]).toEqual([200, '']);
  expect(endpoint.intake.only.sender).toMatchObject({ publicKey: KEY, projectId: 42n });
  expect(endpoint.intake.only.envelope).toMatchObject({
    eventId: expect.stringMatching(/^[0-9a-f]{32}$/),
    items: [
      {
        type: 'raw_security',
        contentType: type.toLowerCase().replace(/;.*/, ''),
        headers: { sentry_release: 'my app@1.0', sentry_environment: 'production' },
      },
    ],
  });
  expect(endpoint.intake.items[0]?.payload).toBe(REPORT);
});

test('a list has many, each an event of its own', async () => {
  const endpoint = await startEndpoint();
  const list = [1, 2, 3].map((number) => ({ type: 'csp-violation', number }));
  const answer = await endpoint.post(
    `/api/42/security/${QUERY}`,
    JSON.stringify(list),
    typed('application/reports+json'),
  );
  expect(answer.status).toBe(200);
  const { received } = endpoint.intake;
  expect(received.map(({ envelope }) => JSON.parse(Buffer.from(envelope.items[0]?.payload ?? []).toString()))).toEqual(
    list,
  );
  expect(new Set(received.map(({ envelope }) => envelope.eventId)).size).toBe(3);
});

test('no for one of a list is no', async () => {
  const endpoint = await startEndpoint();
  endpoint.intake.answer = () => (endpoint.intake.received.length === 2 ? { kind: 'overloaded' } : QUEUED);
  const { status } = await endpoint.post(`/api/42/security/${QUERY}`, '[{},{},{}]', typed('application/json'));
  expect([status, endpoint.intake.received.length]).toEqual([503, 3]);
  expect((await endpoint.post(`/api/42/security/${QUERY}`, '[]', typed('application/json'))).status).toBe(200);
});

test.each([
  [415, 'text/plain', REPORT],
  [415, '', REPORT],
  [400, 'application/json', ''],
  [400, 'application/json', 'x'],
  [400, 'application/json', '7'],
  [400, 'application/json', '[7]'],
  [400, 'application/json', '[[]]'],
  [400, 'application/json', `[${'{},'.repeat(500)}{}]`],
  [413, 'application/json', `{"a":"${'x'.repeat(1024 * 1024)}"}`],
])('%i for %s', async (status, type, body) => {
  const endpoint = await startEndpoint();
  expect((await endpoint.post(`/api/42/security/${QUERY}`, body, typed(type))).status).toBe(status);
  expect(endpoint.intake.received).toEqual([]);
  expect(endpoint.invalid.map(({ category }) => category)).toEqual(status === 415 ? [] : ['security']);
});

test('a report without a key is 401', async () => {
  const endpoint = await startEndpoint();
  expect((await endpoint.post('/api/42/security/', REPORT, typed('application/json'))).status).toBe(401);
});

test('a list of what nobody can read is refused as that', async () => {
  const endpoint = await startEndpoint();
  const deep = `[{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}]`;
  const answer = await endpoint.post(`/api/42/security/${QUERY}`, deep, typed('application/json'));
  expect([answer.status, endpoint.invalid.map(({ reason }) => reason), endpoint.errors]).toEqual([
    400,
    ['invalid_json'],
    [],
  ]);
});
