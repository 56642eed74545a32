import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DEFAULT_GRACE_MS, QUERY_TIMEOUT_MS } from './create-project-cache.ts';
import { advance, keyOf, startCache } from './lookup-testing.ts';
import { EXPIRY_MS } from './project-cache.ts';

// Whatever happens, in whatever order: what the cache says was so not too long ago, and where nothing is in its way it
// soon says what is so.

const KEYS = [1, 2].map(keyOf);
const RUNS = 100;
/** The longest pause between tries, and what a request may take. */
const SETTLED_MS = 60_000 + QUERY_TIMEOUT_MS + 5_000;

type Step =
  | { readonly kind: 'peek'; readonly at: number }
  | { readonly kind: 'pass'; readonly ms: number }
  | { readonly kind: 'change'; readonly at: number; readonly enabled: boolean; readonly told: boolean }
  | { readonly kind: 'reset' }
  | { readonly kind: 'mode'; readonly mode: 'answers' | 'away' | 'pending' | 'unavailable' | 'hangs' };

const at = fc.nat(KEYS.length - 1);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('peek' as const), at }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('pass' as const),
      ms: fc.constantFrom(7, 30, 100, 2_000, 40_000, 310_000),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('change' as const),
      at,
      enabled: fc.boolean(),
      told: fc.constantFrom(true, true, false),
    }),
  },
  fc.record({ kind: fc.constant('reset' as const) }),
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('mode' as const),
      mode: fc.constantFrom('answers', 'answers', 'away', 'pending', 'unavailable', 'hangs'),
    }),
  },
);

test('what it says was so, and becomes what is so', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.constantFrom(0, 60, 400), async (steps, latencyMs) => {
      const { cache, source } = startCache();
      source.latencyMs = latencyMs;
      /** What each key was, and from when on. */
      const history = new Map(KEYS.map((key) => [key, [{ fromMs: performance.now(), revision: 0n }]]));
      /** Keys of whose last change the cache was told nothing. */
      const untold = new Set<string>();
      let revision = 0n;

      /** Of the last so many ms, by revision; 0: none. */
      const wasSo = (key: string, ms: number): Set<bigint> => {
        const oldestMs = performance.now() - ms;
        const states = history.get(key) ?? [];
        return new Set(
          states.filter((_, n) => (states[n + 1]?.fromMs ?? Infinity) >= oldestMs).map((one) => one.revision),
        );
      };
      const says = (key: string): bigint | undefined => {
        const state = cache.peek(key);
        if (state.kind === 'pending') return undefined;
        return state.kind === 'enabled' ? state.config.revision : 0n;
      };
      const check = (key: string) => {
        const said = says(key);
        if (said !== undefined) expect(wasSo(key, EXPIRY_MS + DEFAULT_GRACE_MS + 1)).toContain(said);
      };

      for (const one of steps) {
        const key = 'at' in one ? (KEYS[one.at] ?? '') : '';
        if (one.kind === 'peek') check(key);
        else if (one.kind === 'pass') await advance(one.ms);
        else if (one.kind === 'mode') source.mode = one.mode;
        else if (one.kind === 'reset') {
          untold.clear();
          source.onReset();
        } else {
          revision += 1n;
          if (one.enabled) source.enable(key, revision);
          else source.projects.delete(key);
          history.get(key)?.push({ fromMs: performance.now(), revision: one.enabled ? revision : 0n });
          if (one.told) {
            untold.delete(key);
            source.onChange([key]);
          } else untold.add(key);
        }
      }
      source.mode = 'answers';
      // It says that it lives, and nothing that it has not said before.
      source.onChange([]);
      // Used, as projects are that events come for.
      for (let ms = 0; ms < SETTLED_MS; ms += 5_000) {
        for (const key of KEYS) check(key);
        await advance(5_000);
      }
      for (const key of KEYS) if (!untold.has(key)) expect(wasSo(key, 0)).toContain(says(key));
      expect(source.problems).toEqual([]);
      expect(source.mostRunning).toBeLessThanOrEqual(5);
      cache.close();
    }),
    { numRuns: RUNS },
  );
});
