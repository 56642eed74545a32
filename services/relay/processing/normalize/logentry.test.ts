import { expect, test } from 'vitest';
import { processEnvelope } from '../judge.ts';
import { inputOf, itemOf } from '../testing.ts';
import { error, invalid, table } from './table-testing.ts';

table('messages', [
  { rule: 'text', sent: { message: 'hello' }, is: { logentry: { formatted: 'hello' }, message: undefined } },
  { rule: 'a number', sent: { message: 5 }, is: { logentry: { formatted: '5' } } },
  {
    rule: 'a list',
    sent: { message: [] },
    is: { logentry: null },
    meta: { logentry: error(invalid('expected a message')) },
  },
  {
    rule: 'without parameters it moves',
    sent: { logentry: { message: 'a %s' } },
    is: { logentry: { formatted: 'a %s' } },
  },
  {
    rule: 'percent',
    sent: { logentry: { message: '%s of %d, 100%%', params: ['a', 5] } },
    is: { logentry: { message: '%s of %d, 100%%', params: ['a', 5], formatted: 'a of 5, 100%' } },
  },
  {
    rule: 'named',
    sent: { logentry: { message: '%(a)s %(b)d', params: { a: 'x', b: 1 } } },
    is: { logentry: { message: '%(a)s %(b)d', params: { a: 'x', b: 1 }, formatted: 'x 1' } },
  },
  {
    rule: 'braces',
    sent: { logentry: { message: '{} and {}', params: ['a', { b: 1 }] } },
    is: { logentry: { message: '{} and {}', params: ['a', { b: 1 }], formatted: 'a and {"b":1}' } },
  },
  {
    rule: 'numbered and named braces',
    sent: { logentry: { message: '{1} {0}', params: ['a', 'b'] } },
    is: { logentry: { message: '{1} {0}', params: ['a', 'b'], formatted: 'b a' } },
  },
  {
    rule: 'too few parameters',
    sent: { logentry: { message: '%s %s', params: ['a'] } },
    is: { logentry: { message: '%s %s', params: ['a'], formatted: 'a %s' } },
  },
  {
    rule: 'formatted stays',
    sent: { logentry: { message: '%s', params: ['a'], formatted: 'own' } },
    is: { logentry: { message: '%s', params: ['a'], formatted: 'own' } },
  },
]);

test('a message that names a long parameter often stays short', () => {
  const message = '%(a)s'.repeat(1600);
  const sent = { logentry: { message, params: { a: 'x'.repeat(500_000) } } };
  const { events } = processEnvelope(inputOf([itemOf('event', sent)]));
  expect(events[0]!.payload.byteLength).toBeLessThan(600_000);
});
