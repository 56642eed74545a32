import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  formatRateLimits,
  limitOfRetryAfter,
  parseRateLimits,
  retryAfterSec,
  type ToldLimit,
} from './rate-limit-header.ts';

const NOW = 1_700_000_000_000;

function limit(more: Partial<ToldLimit> = {}): ToldLimit {
  return { scope: 'key', categories: [], reasonCode: undefined, untilMs: NOW + 60_000, ...more };
}

test.each<[string, ToldLimit[]]>([
  ['60::key', [limit()]],
  [
    '60:error;transaction:organization:quota',
    [limit({ scope: 'organization', categories: ['error', 'transaction'], reasonCode: 'quota' })],
  ],
  [
    '60::key, 2:attachment:project',
    [limit(), limit({ scope: 'project', categories: ['attachment'], untilMs: NOW + 1001 })],
  ],
  ['0::key', [limit({ untilMs: NOW - 5 })]],
  ['60::key:a_b_c_d', [limit({ reasonCode: 'a:b,c\nd' })]],
])('%s', (header, limits) => {
  expect(formatRateLimits(limits, NOW)).toBe(header);
});

test('Retry-After is until the last of them ends', () => {
  expect(retryAfterSec([limit(), limit({ untilMs: NOW + 60_001 })], NOW)).toBe(61);
  expect(retryAfterSec([limit({ untilMs: NOW })], NOW)).toBe(1);
  expect(retryAfterSec([], NOW)).toBe(1);
});

test('what was written is read', () => {
  const limits = fc.array(
    fc.record({
      scope: fc.constantFrom('organization', 'project', 'key'),
      categories: fc.uniqueArray(fc.constantFrom('error', 'transaction', 'attachment')),
      reasonCode: fc.constantFrom(undefined, 'quota', 'too_many.x-1'),
      untilMs: fc.integer({ min: 0, max: 3600 }).map((sec) => NOW + sec * 1000),
    }) as fc.Arbitrary<ToldLimit>,
  );
  fc.assert(
    fc.property(limits, (each) => {
      expect(parseRateLimits(formatRateLimits(each, NOW), NOW)).toEqual(each);
    }),
  );
});

test.each<[string, ToldLimit[]]>([
  [
    ' 60 : error ; unheard_of : organization : why : ns;ns ',
    [limit({ scope: 'organization', categories: ['error'], reasonCode: 'why' })],
  ],
  ['60', [limit()]],
  ['59.1::key', [limit()]],
  ['60:unheard_of:key', []],
  ['60::unheard_of', [limit()]],
  ['x::key, -1::key, ::key, NaN::key', []],
  ['', []],
  ['60::key,,60::key', [limit(), limit()]],
  ['Infinity::key', [limit({ untilMs: NOW + 7 * 86_400_000 })]],
])('reads %j', (header, limits) => {
  expect(parseRateLimits(header, NOW)).toEqual(limits);
});

test('reads anything', () => {
  fc.assert(fc.property(fc.string(), (text) => parseRateLimits(text, NOW).every(({ untilMs }) => untilMs >= NOW)));
});

test('a bare Retry-After is for all of the key', () => {
  expect(limitOfRetryAfter('60', NOW)).toEqual(limit({ reasonCode: 'generic' }));
  expect(limitOfRetryAfter(new Date(NOW + 60_000).toUTCString(), NOW)).toEqual(limit({ reasonCode: 'generic' }));
  expect(limitOfRetryAfter('soon', NOW)).toBeUndefined();
});
