import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readEventFields } from './envelope-event-fields.ts';
import { MAX_JSON_DEPTH } from './processing/json.ts';

const ID = 'a1b2c3d4e5f60718293a4b5c6d7e8f90';

function read(text: string, lenient = false) {
  return readEventFields(Buffer.from(text), lenient);
}

/** What JSON.parse makes of it. */
function byParsing(text: string) {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return undefined;
  const { event_id: id, type } = json as Record<string, unknown>;
  return {
    eventId: id === null || id === undefined ? undefined : typeof id === 'string' ? id : '',
    type: typeof type === 'string' ? type : undefined,
  };
}

test.each([
  [`{"event_id":"${ID}","type":"transaction"}`, { eventId: ID, type: 'transaction' }],
  [` \t\r\n{ "a" : [ 1 , {"event_id":"x"} ] , "event_id" : "${ID}" } \n`, { eventId: ID, type: undefined }],
  ['{}', { eventId: undefined, type: undefined }],
  ['{"event_id":null,"type":null}', { eventId: undefined, type: undefined }],
  ['{"event_id":7}', { eventId: '', type: undefined }],
  ['{"event_id":"a","event_id":"b"}', { eventId: 'b', type: undefined }],
  [String.raw`{"event\u005fid":"\u0061","typ\u0065":"b"}`, { eventId: 'a', type: 'b' }],
  [String.raw`{"a":"\"event_id\":\"x\"","b\\":1}`, { eventId: undefined, type: undefined }],
])('reads %s', (text, fields) => {
  expect(read(text)).toEqual(fields);
  expect(byParsing(text)).toEqual(fields);
});

test.each([
  '',
  ' ',
  'null',
  '[]',
  '"a"',
  '{',
  '{"a"',
  '{"a":',
  '{"a":1',
  '{"a":1,}',
  '{"a" 1}',
  '{a:1}',
  '{"a":hello}',
  '{"a":[1,]}',
  '{"a":01}',
  '{"a":1.}',
  '{"a":.5}',
  '{"a":+1}',
  '{"a":1e}',
  '{"a":-}',
  '{"a":tru}',
  '{"a":"\n"}',
  '{"a":"\\x"}',
  '{"a":"\\u12g4"}',
  '{"a":"',
  '{"a":"\\',
  '{}x',
  '{}{}',
  '{"a":[}]',
  '{"a":NaN}',
  '{"a":-Infinity}',
])('%j is no JSON object', (text) => {
  expect(read(text)).toBeUndefined();
  expect(byParsing(text)).toBeUndefined();
});

test('what Python writes for numbers that are none is taken where one asks for it', () => {
  expect(read('{"a":[NaN,Infinity,-Infinity]}', true)).toBeDefined();
  for (const no of ['{"a":Nan}', '{"a":-NaN}', '{"a":Inf}', '{"a":-}', '{"a":nan}'])
    expect(read(no, true)).toBeUndefined();
});

test('is bounded in depth', () => {
  const nested = (levels: number) => `{"a":${'['.repeat(levels)}${']'.repeat(levels)}}`;
  expect(read(nested(MAX_JSON_DEPTH - 1))).toBeDefined();
  for (const levels of [MAX_JSON_DEPTH, 100_000]) expect(read(nested(levels))).toBeUndefined();
});

describe('says what JSON.parse says', () => {
  const event = fc.record(
    { event_id: fc.oneof(fc.string(), fc.json(), fc.constant(null)), type: fc.string(), any: fc.jsonValue() },
    { requiredKeys: [] },
  );
  test('of any JSON', () => {
    fc.assert(
      fc.property(fc.oneof(event, fc.jsonValue()), fc.constantFrom('', ' ', '\t'), (value, space) => {
        const text = JSON.stringify(value, undefined, space);
        expect(read(text)).toEqual(byParsing(text));
      }),
    );
  });
  test('of what is nearly JSON', () => {
    const hurt = fc.tuple(
      event,
      fc.nat(),
      fc.constantFrom('', '"', '\\', '{', '}', '[', ']', ',', ':', '0', 'e', '-', '\n'),
    );
    fc.assert(
      fc.property(hurt, ([value, position, put]) => {
        const text = JSON.stringify(value);
        const at = position % (text.length + 1);
        const changed = text.slice(0, at) + put + text.slice(at + (put === '' ? 1 : 0));
        expect(read(changed)).toEqual(byParsing(changed));
      }),
      { numRuns: 2000 },
    );
  });
});
