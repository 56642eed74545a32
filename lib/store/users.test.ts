import { expect, test } from 'vitest';
import { emailKey } from './users.ts';

test('addresses are compared without case, and however their letters are composed', () => {
  expect(emailKey(' Ann@Example.COM ')).toBe('ann@example.com');
  expect(emailKey('Zoe\u0308@example.com')).toBe(emailKey('ZO\u00cb@example.com'));
});

test('no sign beyond ASCII is compared as a plain one', () => {
  const taken: string[] = [];
  for (let code = 0x80; code <= 0xffff; code++) {
    const key = emailKey(`a${String.fromCodePoint(code)}b`);
    if (!/[^\0-\x7f]/.test(key)) taken.push(code.toString(16));
  }
  expect(taken).toEqual([]);
});
