import { expect, test } from 'vitest';
import { createApiTokens, TOKEN_CACHE_MS, type TokenLookup } from './api-tokens.ts';
import type { VerifiedToken } from './principal.ts';

const TOKEN: VerifiedToken = { id: 'a', organizationId: 1n, scopes: ['projects:read'] };
const secretOf = (n: number) => `twa_${String(n).padStart(43, '0')}`;
const SECRET = secretOf(1);

function setUp(lookup: TokenLookup) {
  const asked: string[] = [];
  let nowMs = 0;
  const tokens = createApiTokens({
    lookup: (secret) => {
      asked.push(secret);
      return lookup(secret);
    },
    now: () => nowMs,
  });
  return {
    tokens,
    asked,
    pass(ms: number) {
      nowMs += ms;
    },
  };
}

test('an answer holds for a while, and no longer', async () => {
  let inForce = true;
  const { tokens, asked, pass } = setUp(async () => (inForce ? TOKEN : undefined));
  expect(await tokens.verify(SECRET)).toEqual(TOKEN);
  inForce = false;
  pass(TOKEN_CACHE_MS - 1);
  expect(await tokens.verify(SECRET)).toEqual(TOKEN);
  expect(asked).toHaveLength(1);
  pass(1);
  expect(await tokens.verify(SECRET)).toBeUndefined();
  inForce = true;
  expect(await tokens.verify(SECRET)).toBeUndefined();
  expect(asked).toHaveLength(2);
  pass(TOKEN_CACHE_MS);
  expect(await tokens.verify(SECRET)).toEqual(TOKEN);
});

test('an answer’s time begins with the question', async () => {
  const answers = Promise.withResolvers<VerifiedToken>();
  const { tokens, asked, pass } = setUp(() => answers.promise);
  const first = tokens.verify(SECRET);
  pass(TOKEN_CACHE_MS);
  answers.resolve(TOKEN);
  await first;
  await tokens.verify(SECRET);
  expect(asked).toHaveLength(2);
});

test('a question that is as old as its answer may be is nobody else’s: the token may be revoked since', async () => {
  const slow = Promise.withResolvers<VerifiedToken>();
  const answers = [slow.promise, Promise.resolve(undefined)];
  const { tokens, asked, pass } = setUp(async () => answers.shift());
  const first = tokens.verify(SECRET);
  pass(TOKEN_CACHE_MS - 1);
  const second = tokens.verify(SECRET);
  pass(1);
  expect(await tokens.verify(SECRET)).toBeUndefined();
  expect(asked).toHaveLength(2);
  slow.resolve(TOKEN);
  expect([await first, await second]).toEqual([TOKEN, TOKEN]);
  expect(await tokens.verify(SECRET)).toBeUndefined();
});

test('many callers with one token ask once', async () => {
  const { tokens, asked } = setUp(async () => TOKEN);
  const answers = await Promise.all(Array.from({ length: 100 }, () => tokens.verify(SECRET)));
  expect(new Set(answers)).toEqual(new Set([TOKEN]));
  expect(asked).toHaveLength(1);
});

test.each([
  '',
  'x',
  'twa_',
  `${SECRET}x`,
  SECRET.slice(0, -1),
  SECRET.replace('twa_', 'twb_'),
  `twa_${'ä'.repeat(43)}`,
])('what can be no token is not asked about: %j', async (text) => {
  const { tokens, asked } = setUp(async () => TOKEN);
  expect(await tokens.verify(text)).toBeUndefined();
  expect(asked).toEqual([]);
});

test('who can’t answer is asked again, and says so', async () => {
  let isAway = true;
  const { tokens } = setUp(async () => {
    if (isAway) throw new Error('away');
    return TOKEN;
  });
  await expect(tokens.verify(SECRET)).rejects.toThrow('away');
  isAway = false;
  expect(await tokens.verify(SECRET)).toEqual(TOKEN);
});

test('a flood of made-up tokens drives out no good one', async () => {
  const { tokens, asked } = setUp(async (secret) => (secret === SECRET ? TOKEN : undefined));
  await tokens.verify(SECRET);
  for (let n = 2; n < 20_000; n++) await tokens.verify(secretOf(n));
  asked.length = 0;
  expect(await tokens.verify(SECRET)).toEqual(TOKEN);
  expect(asked).toEqual([]);
});

test('a caller is the holder of the token in its header', async () => {
  const { tokens } = setUp(async () => TOKEN);
  const principal = await tokens.authenticate(new Headers({ authorization: `Bearer ${SECRET}` }));
  expect(principal?.actor).toBe('token:a');
  expect(await tokens.authenticate(new Headers())).toBeUndefined();
});
