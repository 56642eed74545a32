import { expect, test } from 'vitest';
import { makePlan } from './plan.ts';

const groups = [
  { name: 'first', kinds: ['a', 'b', 'c'], everyMs: [100, 300], forMs: [10, 50] },
  { name: 'second', kinds: ['d'], everyMs: [500, 900], forMs: [0, 0] },
] as const;

test('a seed says the whole plan, and another seed another', () => {
  const plan = makePlan(7, groups, 10_000);
  expect(makePlan(7, groups, 10_000)).toEqual(plan);
  expect(makePlan(8, groups, 10_000)).not.toEqual(plan);
});

test('a longer run of a seed begins as a shorter one does, and no kind comes again before all came', () => {
  const [short, long] = [1_000, 10_000].map((ms) => makePlan(7, groups, ms).faults.get('first') ?? []);
  expect(long?.slice(0, short?.length)).toEqual(short);
  expect(new Set(long?.slice(0, 3).map(({ kind }) => kind)).size).toBe(3);
  expect(new Set(long?.slice(3, 6).map(({ kind }) => kind)).size).toBe(3);
});
