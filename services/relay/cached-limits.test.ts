import { expect, test } from 'vitest';
import type { ActiveLimit } from '#lib/limits/limits.ts';
import { CachedLimits } from './cached-limits.ts';

const NOW_MS = 1_000_000;
const OWNER = { organizationId: 1n, projectId: 2n, keyId: 3n };

function limit(fields: Partial<ActiveLimit> = {}): ActiveLimit {
  return {
    ...{ scope: 'key', scopeId: 3n, categories: ['error'], reasonCode: undefined, untilMs: NOW_MS + 1000 },
    ...fields,
  };
}

test('holds for whom and what it is about, until it ends', () => {
  const limits = new CachedLimits();
  limits.add([limit()], NOW_MS);
  expect(limits.check(OWNER, 'error', NOW_MS)).toEqual([limit()]);
  expect(limits.check(OWNER, 'transaction', NOW_MS)).toEqual([]);
  expect(limits.check({ ...OWNER, keyId: 4n }, 'error', NOW_MS)).toEqual([]);
  expect(limits.check(OWNER, 'error', NOW_MS + 999)).toHaveLength(1);
  expect(limits.check(OWNER, 'error', NOW_MS + 1000)).toEqual([]);
});

test('holds for all keys of a project, all projects of an organization, all categories', () => {
  const limits = new CachedLimits();
  const project = limit({ scope: 'project', scopeId: 2n });
  const organization = limit({ scope: 'organization', scopeId: 1n, categories: [] });
  limits.add([project, organization], NOW_MS);
  expect(limits.check({ ...OWNER, keyId: 9n }, 'error', NOW_MS)).toEqual([project, organization]);
  expect(limits.check({ ...OWNER, projectId: 9n }, 'session', NOW_MS)).toEqual([organization]);
  // Numbers of different scopes have nothing to do with each other.
  expect(limits.check({ organizationId: 2n, projectId: 1n, keyId: 1n }, 'error', NOW_MS)).toEqual([]);
});

test('of the same scope and categories the longest holds', () => {
  const limits = new CachedLimits();
  const long = limit({ untilMs: NOW_MS + 5000, categories: ['error', 'default'] });
  limits.add([long], NOW_MS);
  limits.add([limit({ untilMs: NOW_MS + 2000, categories: ['default', 'error'] })], NOW_MS);
  expect(limits.check(OWNER, 'error', NOW_MS)).toEqual([long]);
  const longer = limit({ untilMs: NOW_MS + 6000, categories: ['default', 'error'], reasonCode: 'x' });
  limits.add([longer], NOW_MS);
  expect(limits.check(OWNER, 'error', NOW_MS)).toEqual([longer]);
  const other = limit({ categories: ['error'] });
  limits.add([other], NOW_MS);
  expect(limits.check(OWNER, 'error', NOW_MS)).toEqual([longer, other]);
  expect(limits.check(OWNER, 'error', NOW_MS + 1500)).toEqual([longer]);
});

test('is bounded, and what has ended goes first', () => {
  const limits = new CachedLimits(100);
  for (let n = 0n; n < 100n; n += 1n) {
    limits.add([limit({ scopeId: n, untilMs: NOW_MS + (n < 50n ? 9000 : 10) })], NOW_MS);
  }
  limits.add([limit({ scopeId: 100n, untilMs: NOW_MS + 9000 })], NOW_MS + 10);
  expect(limits.size).toBe(51);
  for (let n = 101n; n < 1000n; n += 1n) limits.add([limit({ scopeId: n, untilMs: NOW_MS + 9000 })], NOW_MS + 10);
  expect(limits.size).toBeLessThanOrEqual(100);
  expect(limits.check({ ...OWNER, keyId: 999n }, 'error', NOW_MS + 10)).toHaveLength(1);
  expect(limits.check({ ...OWNER, keyId: 0n }, 'error', NOW_MS + 10)).toEqual([]);
});

test('a clock that is set back makes none of them longer', () => {
  const limits = new CachedLimits();
  limits.add([limit()], NOW_MS);
  // A little is what clocks are corrected by.
  expect(limits.check(OWNER, 'error', NOW_MS - 500)).toHaveLength(1);
  expect(limits.check(OWNER, 'error', NOW_MS - 900_000)).toEqual([]);
  expect(limits.isAny(NOW_MS - 900_000)).toBe(false);
  // What is met then holds.
  const met = limit({ untilMs: NOW_MS - 899_000 });
  limits.add([met], NOW_MS - 900_000);
  expect(limits.check(OWNER, 'error', NOW_MS - 900_000)).toEqual([met]);
  expect(limits.check(OWNER, 'error', NOW_MS - 899_000)).toEqual([]);
});
