import { expect, test } from 'vitest';
import { collectGarbage } from '../../test/support/heap.ts';
import { readAuth } from './auth.ts';
import { advance, keyOf, startCache } from './lookup-testing.ts';

const MANY = 1_000;
const LONG = 15_000;
/** As a header arrives: a text of its own. */
const arrived = (text: string) => Buffer.from(text).toString('latin1');

function heapUsed(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

test('a key and a client don’t hold all of the header or the query that they came in', () => {
  const kept: unknown[] = [];
  const before = heapUsed();
  for (let n = 0; n < MANY; n += 1) {
    const fields = [
      `sentry_key=${keyOf(n)}`,
      'sentry_client=sentry.javascript.browser/8.0.0',
      `more=${'x'.repeat(LONG)}`,
    ];
    kept.push(readAuth({ 'x-sentry-auth': arrived(`Sentry ${fields.join(', ')}`) }, ''));
    kept.push(readAuth({}, arrived(fields.join('&'))));
  }
  expect((heapUsed() - before) / kept.length).toBeLessThan(1_000);
});

test('keys that are remembered hold nothing else', async () => {
  const { cache } = startCache();
  const before = heapUsed();
  for (let n = 0; n < MANY; n += 1) cache.peek(arrived(`${keyOf(n)}${'x'.repeat(LONG)}`).slice(0, 32));
  await advance(1_000);
  expect(cache.peek(keyOf(7)).kind).toBe('disabled');
  expect((heapUsed() - before) / MANY).toBeLessThan(2_000);
});
