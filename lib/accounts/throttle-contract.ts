import { describe, expect, test } from 'vitest';
import type { Throttle } from './throttle.ts';

/** The guarantees of throttle.ts. `pass` lets time go by; keys are new in each test. */
export function describeThrottleContract(
  name: string,
  options: { readonly throttle: () => Throttle; readonly pass: (ms: number) => Promise<void> },
): void {
  const counter = (limit: number, windowMs = 60_000) => ({ key: crypto.randomUUID(), limit, windowMs });

  describe(`throttle contract: ${name}`, () => {
    test('lets so many pass, and says how long the rest must wait', async () => {
      const own = counter(3);
      for (let i = 0; i < 3; i++) expect(await options.throttle().attempt([own])).toBeUndefined();
      const waitMs = await options.throttle().attempt([own]);
      expect(waitMs).toBeGreaterThan(0);
      expect(waitMs).toBeLessThanOrEqual(60_000);
      expect(waitMs).toSatisfy(Number.isInteger);
      expect(await options.throttle().attempt([counter(1)])).toBeUndefined();
    });

    test('counts those at the same moment', async () => {
      const own = counter(5);
      const waits = await Promise.all(Array.from({ length: 20 }, () => options.throttle().attempt([own])));
      expect(waits.filter((waitMs) => waitMs === undefined)).toHaveLength(5);
    });

    test('who is refused by one counter fills none of those after it', async () => {
      const [own, shared] = [counter(1), counter(2)];
      for (let i = 0; i < 5; i++) await options.throttle().attempt([own, shared]);
      expect(await options.throttle().attempt([shared])).toBeUndefined();
      expect(await options.throttle().attempt([shared])).toBeGreaterThan(0);
    });

    test('a window ends, whatever was refused in it', async () => {
      const own = counter(1, 200);
      await options.throttle().attempt([own]);
      expect(await options.throttle().attempt([own])).toBeGreaterThan(0);
      await options.pass(200);
      expect(await options.throttle().attempt([own])).toBeUndefined();
    });

    test('forgets what it is told to', async () => {
      const own = counter(1);
      await options.throttle().attempt([own]);
      await options.throttle().forget(own);
      expect(await options.throttle().attempt([own])).toBeUndefined();
    });
  });
}
