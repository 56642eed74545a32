import { describe, expect, it } from 'vitest';
import { Backoff } from './backoff.ts';

describe('Backoff', () => {
  it('doubles up to five seconds', () => {
    const backoff = new Backoff(
      60_000,
      () => 0,
      () => 1,
    );
    const waits = Array.from({ length: 7 }, () => backoff.next());
    expect(waits).toEqual([250, 500, 1000, 2000, 4000, 5000, 5000]);
  });

  it('jitters down to half', () => {
    const backoff = new Backoff(
      60_000,
      () => 0,
      () => 0,
    );
    expect(backoff.next()).toBe(125);
  });

  it('waits at least as long as the server asks', () => {
    const backoff = new Backoff(60_000, () => 0);
    expect(backoff.next(3000)).toBe(3000);
  });

  it('ends when the budget since the last success is spent', () => {
    let nowMs = 1000;
    const backoff = new Backoff(
      10_000,
      () => nowMs,
      () => 1,
    );
    expect(backoff.next()).toBe(250);
    nowMs = 10_900;
    expect(backoff.next()).toBe(100);
    nowMs = 11_000;
    expect(backoff.next()).toBeUndefined();
  });

  it('starts over after a success', () => {
    let nowMs = 0;
    const backoff = new Backoff(
      10_000,
      () => nowMs,
      () => 1,
    );
    backoff.next();
    expect(backoff.failing).toBe(true);
    backoff.succeeded();
    expect(backoff.failing).toBe(false);
    nowMs = 50_000;
    expect(backoff.next()).toBe(250);
  });
});
