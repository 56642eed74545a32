import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MAX_JSON_DEPTH, parseJson } from './json.ts';

const parse = (text: string, lenient = false) => parseJson(Buffer.from(text), lenient);

test('it reads what JSON.parse reads', () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 8 }), (text) => {
      expect(JSON.stringify(parse(text))).toBe(JSON.stringify(JSON.parse(text)));
    }),
  );
});

test('numbers keep every digit', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }), (number) => {
      expect(JSON.stringify(parse(`[{"a":${number}}]`))).toBe(`[{"a":${number}}]`);
    }),
  );
});

test.each(['1e400', '-1E+999', '[1e308,1e-400]', '12345678901234567', '0.1', '123456789.12345678', '1e5'])(
  '%s stays what it is',
  (number) => {
    expect(JSON.parse(JSON.stringify(parse(number)))).toEqual(JSON.parse(number));
    expect(JSON.stringify(parse(number))).not.toContain('null');
  },
);

test.each(['', ' ', '{', '{"a":}', '[1,]', 'nul', '{"a":NaN}', '"\\x"', '{"a":1}x', '\ufeff{}'])(
  '%j is none',
  (text) => {
    expect(parse(text)).toBeUndefined();
  },
);

test('it is as deep as what reads it later bears', () => {
  const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
  expect(parse(nested(MAX_JSON_DEPTH))).toBeDefined();
  expect(parse(nested(MAX_JSON_DEPTH + 1))).toBeUndefined();
  expect(parse(nested(500_000))).toBeUndefined();
  expect(parse(JSON.stringify({ text: nested(500), more: Array.from({ length: 500 }, () => [{}]) }))).toBeDefined();
});

test('NaN and Infinity are null, of those who may say them', () => {
  const text = '{"a":NaN,"b":[-Infinity,Infinity],"NaN":"NaN, \\"Infinity\\"","c":-1}';
  expect(parse(text)).toBeUndefined();
  expect(parse(text, true)).toEqual({ a: null, b: [null, null], NaN: 'NaN, "Infinity"', c: -1 });
  expect(parse('{"a":Nan}', true)).toBeUndefined();
  expect(parse('{"a":NaN1}', true)).toBeUndefined();
  expect(parse(`{"a":NaN,"b":"${'\\"'.repeat(500_000)}`, true)).toBeUndefined();
});
