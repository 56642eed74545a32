import process from 'node:process';
import { expect, test } from 'vitest';
import { processEnvelope } from './judge.ts';
import { inputOf, itemOf, NO_FILTERS } from './testing.ts';

const EVENT_BYTES = 1024 * 1024;
const MAX_CPU_MS = 2000;
/** What is added to each breadcrumb, of which the smallest has three bytes. */
const MAX_GROWTH = 12;

/** As much of one thing as an event may have. */
function full(before: string, each: string | ((index: number) => string), after: string): string {
  const parts: string[] = [];
  for (let length = before.length + after.length, index = 0; ; index++) {
    const part = typeof each === 'string' ? each : each(index);
    length += part.length + 1;
    if (length > EVENT_BYTES) return `${before}${parts.join(',')}${after}`;
    parts.push(part);
  }
}

test.each([
  ['unknown names', full('{', (index) => `"${index}":1`, '}')],
  ['breadcrumbs', full('{"breadcrumbs":[', '{}', ']}')],
  ['breadcrumbs of wrong levels and times', full('{"breadcrumbs":[', '{"level":1,"timestamp":"x"}', ']}')],
  ['tags', full('{"tags":{', (index) => `"${index}":1`, '}}')],
  ['wrong tags', full('{"tags":[', '["/",""]', ']}')],
  ['what is no tag', full('{"tags":[', '1', ']}')],
  ['exceptions', full('{"exception":[', '{"value":"A: b"}', ']}')],
  ['what is no exception', full('{"exception":[', '0', ']}')],
  ['frames', full('{"stacktrace":{"frames":[', '{"filename":"a"}', ']}}')],
  ['headers', full('{"request":{"headers":[', '["a","b"]', ']}}')],
  ['cookies', `{"request":{"headers":{"Cookie":"${'a;'.repeat(EVENT_BYTES / 2 - 30)}"}}}`],
  ['a body of brackets', `{"request":{"data":"${'['.repeat(EVENT_BYTES - 30)}"}}`],
  ['numbers', full('{"extra":{"a":[', '12345678901234567890', ']}}')],
  ['an unclosed text', `{"a":NaN,"b":"${'\\"'.repeat(EVENT_BYTES / 2 - 20)}`],
  ['users’ data', full('{"user":{', (index) => `"${index}":1`, '}}')],
  ['a message', `{"message":"${'{}%s'.repeat(EVENT_BYTES / 4 - 20)}","tags":{}}`],
  ['a url', `{"request":{"url":"${'?#'.repeat(EVENT_BYTES / 2 - 20)}"}}`],
  ['a user agent', `{"request":{"headers":{"User-Agent":"${'Trident/Android 1'.repeat(60_000)}"}}}`],
])('an event of 1 MiB of %s takes its time and no more', (_, json) => {
  expect(json.length).toBeLessThanOrEqual(EVENT_BYTES);
  const filters = { ...NO_FILTERS, webCrawlers: true, localhost: true, legacyBrowsers: ['ie', 'android'] };
  const input = inputOf([itemOf('event', json)], {
    filters: {
      ...filters,
      browserExtensions: true,
      errorMessages: ['*a*b*c*d*', '*[x-z]?*?'],
      clientIps: ['10.0.0.0/8'],
    },
    sender: { client: 'sentry-python/1' },
  });
  const from = process.threadCpuUsage();
  const { events, refused } = processEnvelope(input);
  const { user, system } = process.threadCpuUsage(from);
  expect((user + system) / 1000).toBeLessThan(MAX_CPU_MS);
  expect(events.length + refused.length).toBe(1);
  expect(refused.map(({ reason }) => reason)).not.toContain('internal');
  for (const { payload } of events) expect(payload.byteLength).toBeLessThan(MAX_GROWTH * EVENT_BYTES);
});
