import { expect, test } from 'vitest';
import { Refusal } from '#lib/server/refusal.ts';
import { pageTokenOf, positionOf } from './page-token.ts';

const QUERY = [1n, undefined, 'error'];
const POSITION = { receivedMs: 1_700_000_000_000, projectId: 2n ** 63n - 1n, eventId: 'ab'.repeat(16) };

test('a token leads on in its own query', () => {
  expect(positionOf(pageTokenOf(POSITION, QUERY), QUERY)).toEqual(POSITION);
  expect(() => positionOf(pageTokenOf(POSITION, QUERY), [2n, undefined, 'error'])).toThrow();
});

test('one of a project that there can not be is refused, as no database could look for it', () => {
  const token = pageTokenOf({ ...POSITION, projectId: 2n ** 63n }, QUERY);
  expect(() => positionOf(token, QUERY)).toThrow(Refusal);
});
