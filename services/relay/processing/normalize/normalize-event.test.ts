import { expect, test } from 'vitest';
import { EVENT_ID, itemOf, normalized, processItems, RECEIVED_MS } from '../testing.ts';
import { error, invalid, table } from './table-testing.ts';

const RECEIVED = RECEIVED_MS / 1000;

test('what is normalized of nothing', () => {
  expect(normalized({})).toEqual({
    event_id: EVENT_ID,
    type: 'default',
    version: '7',
    project: 42,
    key_id: '7',
    level: 'error',
    platform: 'other',
    logger: '',
    timestamp: RECEIVED,
    received: RECEIVED,
  });
});

test('what it knows nothing of stays as it was sent', () => {
  const sent = {
    fingerprint: ['{{ default }}', 'a'],
    modules: { a: '1' },
    contexts: { trace: { trace_id: 'a'.repeat(32), span_id: 'b'.repeat(16), op: 'x' }, own: { deep: [[[{}]]] } },
    extra: { a: [1, 2.5, null, true, '✓', { b: {} }], __proto__x: 1, '': 'empty' },
    debug_meta: { images: [{ type: 'macho' }] },
    spans: [{ span_id: 'a', timestamp: '2026-11-21T09:59:59Z' }],
    threads: { values: [{ id: 1, crashed: true }] },
    measurements: { lcp: { value: 1 } },
  };
  expect(normalized(sent)).toMatchObject(sent);
});

test('numbers that a double does not hold stay exact', () => {
  const numbers = '{"big":12345678901234567890,"neg":-9007199254740993,"far":1e400,"id":9007199254740991,"pi":3.14}';
  const { events } = processItems([itemOf('event', `{"extra":${numbers},"user":{"id":12345678901234567890}}`)]);
  const text = Buffer.from(events[0]!.payload).toString();
  expect(text).toContain(numbers);
  expect(text).toContain('"id":"12345678901234567890"');
});

test('keys that objects have anyway are kept, and change no object', () => {
  const json =
    '{"__proto__":{"a":1},"constructor":1,"user":{"__proto__":{"b":1},"toString":2},"extra":{"__proto__":{"c":1}}}';
  const { events } = processItems([itemOf('event', json)]);
  const text = Buffer.from(events[0]!.payload).toString();
  expect(text).toContain('"extra":{"__proto__":{"c":1}}');
  expect(text).toContain('"data":{"__proto__":{"b":1},"toString":2}');
  expect(text).toContain('"__proto__":null,"constructor":null');
  expect(({} as Record<string, unknown>)['']).toBeUndefined();
  expect(Object.keys(Object.prototype)).toEqual([]);
});

table('names', [
  { rule: 'unknown ones are null', sent: { foo: 1 }, is: { foo: null }, meta: { foo: error('invalid_attribute') } },
  {
    rule: 'older names',
    sent: {
      'sentry.interfaces.User': { id: '1' },
      'sentry.interfaces.Http': { method: 'get' },
      'sentry.interfaces.Exception': { type: 'A', value: 'b' },
      'sentry.interfaces.Breadcrumbs': [],
    },
    is: {
      user: { id: '1', sentry_user: 'id:1' },
      request: { method: 'GET' },
      exception: { values: [{ type: 'A', value: 'b' }] },
      breadcrumbs: { values: [] },
      'sentry.interfaces.User': undefined,
    },
  },
  {
    rule: 'its own name wins',
    sent: { message: 'a', logentry: { formatted: 'b' } },
    is: { logentry: { formatted: 'b' } },
  },
  {
    rule: 'what is none of its kind is null',
    sent: { user: 'me', contexts: 5, extra: 'x', fingerprint: 'one', request: [1] },
    is: { user: null, contexts: null, extra: null, fingerprint: null, request: null },
    meta: {
      user: error(invalid('expected an object')),
      contexts: error(invalid('expected an object')),
      extra: error(invalid('expected an object')),
      request: error(invalid('expected an object')),
      fingerprint: error(invalid('expected a list')),
    },
  },
  {
    rule: 'notes of the sender stay',
    sent: { foo: 1, _meta: { user: { '': { len: 3 } }, foo: { '': { err: ['earlier'] } } } },
    is: {},
    meta: { user: { '': { len: 3 } }, foo: { '': { err: ['earlier', 'invalid_attribute'] } } },
  },
]);
