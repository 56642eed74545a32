import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { columnsOf } from './event-columns.ts';
import { livePayload } from './live-summary.ts';

const RECEIVED_MS = 1_700_000_000_000;

function columns(event: Record<string, unknown>) {
  return columnsOf(event, RECEIVED_MS);
}

describe('title', () => {
  test.each([
    [
      'the exception that was caught',
      {
        exception: {
          values: [
            { type: 'Cause', value: 'x' },
            { type: 'E', value: 'a\nb' },
          ],
        },
      },
      'E: a',
    ],
    ['an exception without value', { exception: { values: [{ type: 'E' }] } }, 'E'],
    ['an exception without type', { exception: [{ value: 'a' }] }, 'a'],
    ['the message, formatted', { logentry: { message: 'a %s', formatted: 'a b\nc' } }, 'a b'],
    ['a plain message', { message: '  \n hello' }, 'hello'],
    ['a transaction', { type: 'transaction', transaction: 'GET /' }, 'GET /'],
    [
      'a CSP report',
      { type: 'csp', csp: { effective_directive: 'img-src', blocked_uri: 'https://e.com' } },
      "Blocked 'img-src' from 'https://e.com'",
    ],
    ['feedback', { type: 'feedback', contexts: { feedback: { message: 'good' } } }, 'good'],
    ['nothing', {}, 'an event without a message'],
  ])('%s', (_, event, title) => {
    expect(columns(event).title).toBe(title);
  });
});

test('columns say where, who, when and by what', () => {
  const event = {
    exception: {
      values: [
        {
          type: 'ValueError',
          value: 'Bad Thing',
          stacktrace: {
            frames: [
              { module: 'app.views', function: 'index', in_app: true },
              { module: 'lib', function: 'inner', in_app: false },
            ],
          },
        },
      ],
    },
    level: 'fatal',
    platform: 'python',
    release: 'r@1',
    environment: 'production',
    user: { id: 7, email: 'Someone@example.com' },
    sdk: { name: 'sentry.python', version: '2.1' },
    timestamp: '2023-11-14T22:13:20.500Z',
  };
  const { searchText, ...rest } = columns(event);
  expect(rest).toEqual({
    level: 'fatal',
    title: 'ValueError: Bad Thing',
    culprit: 'app.views in index',
    platform: 'python',
    release: 'r@1',
    environment: 'production',
    transaction: '',
    user: '7',
    sdk: 'sentry.python/2.1',
    timeMs: RECEIVED_MS + 500,
  });
  for (const word of ['valueerror', 'bad thing', 'app.views', 'someone@example.com'])
    expect(searchText).toContain(word);
});

test('whatever an event is, its columns are bounded text, and its summary is far smaller than a message may be', () => {
  const names = ['exception', 'logentry', 'message', 'user', 'sdk', 'csp', 'level', 'title', 'timestamp', 'type'];
  const json = fc.dictionary(fc.constantFrom(...names, 'transaction', 'release', 'culprit'), fc.jsonValue());
  fc.assert(
    fc.property(json, (event) => {
      for (const value of Object.values(columns(event))) {
        if (typeof value === 'string') expect(value.length).toBeLessThanOrEqual(4096);
        else expect(Number.isFinite(new Date(value).getTime())).toBe(true);
      }
    }),
  );
  const long = '\u{1f600}'.repeat(100_000);
  const texts = ['title', 'message', 'level', 'platform', 'release', 'environment', 'transaction', 'culprit'];
  const event = columns(Object.fromEntries(texts.map((name) => [name, `a${long}`])));
  const payload = livePayload({ ...event, organizationId: 1n, projectId: 2n, eventId: 'a'.repeat(32) });
  expect(Buffer.byteLength(JSON.stringify(payload))).toBeLessThan(6_000);
  expect(JSON.stringify(payload).isWellFormed()).toBe(true);
});
