import { performance } from 'node:perf_hooks';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileGlob } from './glob.ts';

const matches = (pattern: string, text: string) => compileGlob(pattern).matches(text.toLowerCase());

describe('a glob', () => {
  test.each<[pattern: string, yes: string[], no: string[]]>([
    ['abc', ['abc', 'ABC'], ['abcd', 'xabc', '']],
    ['A*', ['a', 'abc', 'a\nb/c'], ['ba']],
    ['*b', ['b', 'ab'], ['ba']],
    ['*b*', ['b', 'abc'], ['ac']],
    ['a*b*c', ['abc', 'axbxc', 'abbcc'], ['acb', 'ab']],
    ['a?c', ['abc', 'a.c'], ['ac', 'abbc']],
    ['*?', ['a', 'ab'], ['']],
    ['**', ['', 'a'], []],
    ['*aab*', ['aaab'], ['aa']],
    ['*a?b', ['axaxb', 'aab'], ['ab']],
    ['[a-c]x', ['ax', 'CX'], ['dx', 'x']],
    ['[!a-c]x', ['dx'], ['ax', 'x']],
    ['[]]', [']'], ['[']],
    ['[a', ['[a'], ['a']],
    ['{foo,bar}', ['foo', 'bar'], ['foobar', '{foo,bar}']],
    ['1.{0,1.*}.{5,6}', ['1.0.5', '1.1.2.6'], ['1.2.5']],
    ['{a,{b,c}d}e', ['ae', 'bde', 'cde'], ['be']],
    ['{a,b', ['{a,b'], ['a']],
    ['a{,b}', ['a', 'ab'], ['b']],
    ['\\*', ['*'], ['a', '\\*']],
    ['\\{a,b\\}', ['{a,b}'], ['a']],
    ['a\\', ['a\\'], ['a']],
    ['', [], ['', 'a']],
    ['*', ['', 'anything'], []],
    ['TypeError: * is not a *', ['typeerror: x is not a function'], ['TypeError: x']],
  ])('%j', (pattern, yes, no) => {
    for (const text of yes) expect([text, matches(pattern, text)]).toEqual([text, true]);
    for (const text of no) expect([text, matches(pattern, text)]).toEqual([text, false]);
  });

  test('says what a regular expression says', () => {
    const token = fc.constantFrom('a', 'b', '*', '?', '[ab]', '[!a]', '{a,bb}', '.');
    const words: Record<string, string> = { '*': '.*', '?': '.', '[!a]': '[^a]', '{a,bb}': '(?:a|bb)', '.': '\\.' };
    fc.assert(
      fc.property(
        fc.array(token, { minLength: 1, maxLength: 8 }),
        fc.stringMatching(/^[ab.]{0,10}$/),
        (tokens, text) => {
          const expression = new RegExp(`^${tokens.map((each) => words[each] ?? each).join('')}$`, 's');
          expect(matches(tokens.join(''), text)).toBe(expression.test(text));
        },
      ),
      { numRuns: 1000 },
    );
  });

  test.each([
    [`${'*a'.repeat(50)}*b`, 'a'.repeat(8192)],
    [`${'*?a'.repeat(50)}b`, 'a'.repeat(8192)],
    ['*[ab][ab]c'.repeat(20), 'ab'.repeat(4096)],
    ['{a,b}'.repeat(100), 'ab'.repeat(50)],
    ['{'.repeat(5000), '{'],
    ['{a,'.repeat(2000) + '}'.repeat(2000), 'a'],
    ['['.repeat(20_000), '['],
  ])('takes no time to speak of for %#', (pattern, text) => {
    const fromMs = performance.now();
    matches(pattern, text);
    expect(performance.now() - fromMs).toBeLessThan(10_000);
  });
});
