import { describe, expect, test } from 'vitest';
import { createMemoryThrottle } from './memory-throttle.ts';
import { signInCounters } from './throttle.ts';
import { describeThrottleContract } from './throttle-contract.ts';

let nowMs = 0.3;
const memory = createMemoryThrottle({ now: () => nowMs });
describeThrottleContract('memory', {
  throttle: () => memory,
  pass: async (ms) => {
    nowMs += ms;
  },
});

describe('in memory', () => {
  test('remembers a bounded number', async () => {
    const throttle = createMemoryThrottle({ maxCounters: 10 });
    const counterOf = (i: number) => ({ key: String(i), limit: 1, windowMs: 60_000 });
    for (let i = 0; i < 100; i++) await throttle.attempt([counterOf(i)]);
    expect(await throttle.attempt([counterOf(0)])).toBeUndefined();
    expect(await throttle.attempt([counterOf(99)])).toBeGreaterThan(0);
  });
});

describe('counters', () => {
  test('have no addresses in their keys', () => {
    const { all } = signInCounters('ann@example.com', '203.0.113.9');
    for (const { key } of all) expect(key).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(new Set(all.map(({ key }) => key)).size).toBe(3);
  });
});
