import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DataCategory } from '#lib/ingest/data-category.ts';
import type { Limits, TakeRequest } from './limits.ts';
import { newSender, taken } from './limits-testing.ts';

export interface LimitsHarness {
  readonly limits: Limits;
  nowMs(): number;
  /** Lets time go by. */
  pass(ms: number): void;
}

const MINUTE_MS = 60_000;

/** The guarantees of limits.ts, to be run against every implementation. */
export function describeLimitsContract(name: string, open: () => Promise<LimitsHarness>, runs: number): void {
  describe(`limits contract: ${name}`, () => {
    let harness: LimitsHarness;
    let limits: Limits;

    beforeAll(async () => {
      harness = await open();
      limits = harness.limits;
    });
    afterAll(() => limits?.close());

    async function takeOne(request: TakeRequest): Promise<boolean> {
      const [result] = await limits.take([request]);
      return result?.isTaken === true;
    }

    /** Moves to `ms` after the beginning of a window of the organization. */
    function enterWindow(organizationId: bigint, windowSec: number, ms = 0): void {
      const windowMs = windowSec * 1000;
      const shiftMs = Number(organizationId % BigInt(windowSec)) * 1000;
      harness.pass(windowMs - ((harness.nowMs() - shiftMs) % windowMs) + ms);
    }

    test('takes up to the limit, and says what refused the rest and until when', async () => {
      const sender = newSender();
      enterWindow(sender.organizationId, 60, 20_000);
      const quota = sender.quota('key', { limit: 5, reasonCode: 'key_rate_limit' });
      for (let n = 0; n < 5; n += 1) expect(await takeOne(sender.request([quota]))).toBe(true);
      expect(await limits.take([sender.request([quota])])).toEqual([
        {
          isTaken: false,
          limits: [
            {
              ...{ scope: 'key', scopeId: sender.keyId, categories: ['error'], reasonCode: 'key_rate_limit' },
              untilMs: harness.nowMs() + 40_000,
            },
          ],
        },
      ]);
      const other = newSender(sender.organizationId, sender.projectId);
      expect(await takeOne(other.request([other.quota('key', { limit: 5 })]))).toBe(true);
    });

    test('windows begin anew, at a time that depends on the organization', async () => {
      const [early, late] = [newSender(6_000n), newSender(6_030n)];
      enterWindow(early.organizationId, 60, 1_000);
      const requests = [early, late].map((sender) =>
        sender.request([sender.quota('organization', { id: `q${Math.random()}`, limit: 1 })]),
      );
      expect(taken(await limits.take(requests))).toEqual([true, true]);
      harness.pass(28_000);
      expect(taken(await limits.take(requests))).toEqual([false, false]);
      harness.pass(2_000);
      expect(taken(await limits.take(requests))).toEqual([false, true]);
      harness.pass(27_900);
      expect(taken(await limits.take(requests))).toEqual([false, false]);
      harness.pass(1_100);
      expect(taken(await limits.take(requests))).toEqual([true, false]);
    });

    test('all or nothing: what one quota refuses counts for none', async () => {
      const sender = newSender();
      const organization = sender.quota('organization', { limit: 3 });
      const key = sender.quota('key', { limit: 1 });
      const results = await limits.take(Array.from({ length: 10 }, () => sender.request([organization, key])));
      expect(taken(results)).toEqual([true, ...new Array(9).fill(false)]);
      expect(results[1]).toMatchObject({ limits: [{ scope: 'key' }] });
      const both = await limits.take(Array.from({ length: 3 }, () => sender.request([organization])));
      expect(taken(both)).toEqual([true, true, false]);
      expect(await limits.take([sender.request([organization, key])])).toMatchObject([
        { limits: [{ scope: 'organization' }, { scope: 'key' }] },
      ]);
    });

    test('counts quantities, and never a part of one', async () => {
      const sender = newSender();
      const quota = sender.quota('project', { categories: ['attachment'], limit: 10_000_000_000 });
      const ask = (quantity: number, overAcceptOnce = false) =>
        takeOne(sender.request([quota], { category: 'attachment', quantity, overAcceptOnce }));
      expect(await ask(6_000_000_000)).toBe(true);
      expect(await ask(6_000_000_000)).toBe(false);
      expect(await ask(4_000_000_000)).toBe(true);
      expect(await ask(1)).toBe(false);
    });

    test('a quantity of 0 asks, and counts nothing', async () => {
      const sender = newSender();
      const quota = sender.quota('key', { limit: 1 });
      for (let n = 0; n < 3; n += 1) expect(await takeOne(sender.request([quota], { quantity: 0 }))).toBe(true);
      expect(await takeOne(sender.request([quota]))).toBe(true);
      expect(await takeOne(sender.request([quota], { quantity: 0 }))).toBe(false);
    });

    test('a limit is crossed once where that is allowed', async () => {
      const sender = newSender();
      const quota = sender.quota('key', { limit: 10 });
      const ask = (quantity: number) => takeOne(sender.request([quota], { quantity, overAcceptOnce: true }));
      expect([await ask(9), await ask(50), await ask(1)]).toEqual([true, true, false]);
    });

    test('limit 0 refuses for a minute, counts nothing, and may be about everything', async () => {
      const sender = newSender();
      const counted = sender.quota('organization', { limit: 1 });
      const nothing = sender.quota('project', { limit: 0, categories: [], windowSec: 0, reasonCode: 'off' });
      for (const category of ['error', 'attachment', 'session'] as const) {
        expect(await limits.take([sender.request([counted, nothing], { category })])).toEqual([
          {
            isTaken: false,
            limits: [
              {
                ...{ scope: 'project', scopeId: sender.projectId, categories: [], reasonCode: 'off' },
                untilMs: harness.nowMs() + MINUTE_MS,
              },
            ],
          },
        ]);
      }
      expect(await takeOne(sender.request([counted]))).toBe(true);
    });

    test('without a limit it only counts', async () => {
      const sender = newSender();
      const quota = sender.quota('key', { limit: undefined });
      const results = await limits.take(Array.from({ length: 50 }, () => sender.request([quota])));
      expect(results.every(({ isTaken }) => isTaken)).toBe(true);
    });

    test('a long window is asked about again after five minutes', async () => {
      const sender = newSender();
      enterWindow(sender.organizationId, 86_400, 1_000);
      const quota = sender.quota('organization', { limit: 1, windowSec: 86_400 });
      await limits.take([sender.request([quota])]);
      expect(await limits.take([sender.request([quota])])).toMatchObject([
        { limits: [{ untilMs: harness.nowMs() + 5 * MINUTE_MS }] },
      ]);
    });

    test('a limit above 0 without categories is one of events of all kinds, and not of bytes', async () => {
      const sender = newSender();
      const quota = sender.quota('project', { categories: [], limit: 2 });
      const ask = (category: DataCategory, quantity = 1) => takeOne(sender.request([quota], { category, quantity }));
      expect([await ask('error'), await ask('transaction'), await ask('feedback')]).toEqual([true, true, false]);
      expect([await ask('attachment', 10_000), await ask('session')]).toEqual([true, true]);
    });

    test('names of settings are understood', async () => {
      const sender = newSender();
      const quota = sender.quota('project', { categories: ['user_report_v2', 'unheard_of'], limit: 1 });
      const ask = () => takeOne(sender.request([quota], { category: 'feedback' }));
      expect([await ask(), await ask()]).toEqual([true, false]);
    });

    test('two names of one category are one', async () => {
      const sender = newSender();
      const quota = sender.quota('project', { categories: ['user_report_v2', 'feedback', 'error', 'error'], limit: 0 });
      expect(await limits.take([sender.request([quota])])).toMatchObject([
        { limits: [{ categories: ['feedback', 'error'] }] },
      ]);
    });

    test.for([
      ['mixes units', { categories: ['error', 'attachment'], limit: 1 }],
      ['has only unknown categories', { categories: ['unheard_of'], limit: 0 }],
      ['is about something else', { categories: ['transaction'], limit: 0 }],
      ['has no window', { windowSec: 0, limit: 1 }],
      ['has no id', { id: '', limit: 1 }],
    ] as const)('a quota that %s refuses nothing', async ([, fields]) => {
      const sender = newSender();
      const request = sender.request([sender.quota('project', fields)]);
      expect(taken(await limits.take([request, request, request]))).toEqual([true, true, true]);
    });

    test('a quota of somebody else refuses nothing', async () => {
      const [sender, other] = [newSender(), newSender()];
      for (const scope of ['organization', 'project', 'key'] as const) {
        expect(await takeOne(sender.request([other.quota(scope, { limit: 0 })]))).toBe(true);
      }
    });

    test('many things of many organizations at once, in order', async () => {
      const senders = Array.from({ length: 5 }, () => newSender());
      const requests = senders.flatMap((sender) => {
        const quota = sender.quota('key', { limit: 200 });
        return Array.from({ length: 300 }, () => sender.request([quota]));
      });
      const results = await limits.take(requests);
      expect(results).toHaveLength(1_500);
      for (let n = 0; n < 5; n += 1) {
        const own = taken(results.slice(n * 300, (n + 1) * 300));
        expect(own).toEqual([...new Array(200).fill(true), ...new Array(100).fill(false)]);
      }
    });

    test('a config of another revision goes on with the same counter', async () => {
      const sender = newSender();
      const [before, after] = [sender.quota('key', { limit: 2 }), sender.quota('key', { limit: 3 })];
      const requests = [before, after, before, after, after].map((quota) => sender.request([quota]));
      expect(taken(await limits.take(requests))).toEqual([true, true, false, true, false]);
    });

    test('those at the same moment never get more than there is', async () => {
      const sender = newSender();
      const quota = sender.quota('key', { limit: 10 });
      const results = await Promise.all(Array.from({ length: 100 }, () => limits.take([sender.request([quota])])));
      expect(results.filter(([result]) => result?.isTaken)).toHaveLength(10);
    });

    test('a clock that goes back finds what was counted, at the borders of windows, too', async () => {
      const moves = fc.constantFrom(-3_600_000, -61_000, -60_000, -1_000, -1, 0, 1, 999, 30_000, 60_000, 3_600_000);
      const steps = fc.array(fc.record({ moves, quantity: fc.nat(3) }), { maxLength: 25 });
      const property = fc.asyncProperty(steps, async (list) => {
        const sender = newSender();
        enterWindow(sender.organizationId, 60);
        const quota = sender.quota('key', { limit: 3 });
        const shiftMs = Number(sender.organizationId % 60n) * 1000;
        const counts = new Map<number, number>();
        for (const { moves, quantity } of list) {
          harness.pass(moves);
          const slot = Math.floor((harness.nowMs() - shiftMs) / MINUTE_MS);
          const count = counts.get(slot) ?? 0;
          const isTaken = quantity === 0 ? count < 3 : count + quantity <= 3;
          if (isTaken) counts.set(slot, count + quantity);
          const [result] = await limits.take([sender.request([quota], { quantity })]);
          expect(result).toMatchObject(
            isTaken ? { isTaken } : { isTaken, limits: [{ untilMs: (slot + 1) * MINUTE_MS + shiftMs }] },
          );
        }
      });
      await fc.assert(property, { numRuns: runs });
    });

    test('any requests are taken as the rules say', async () => {
      const scope = fc.constantFrom('organization' as const, 'project' as const, 'key' as const);
      const limit = fc.constantFrom(undefined, 1, 2, 5, 9);
      const categories = fc.constantFrom<DataCategory[]>(['error'], ['transaction'], ['error', 'transaction']);
      const quotas = fc.uniqueArray(fc.record({ scope, limit, categories }), {
        selector: (quota) => quota.scope,
        maxLength: 3,
      });
      const category = fc.constantFrom<DataCategory>('error', 'transaction');
      const asked = fc.array(fc.record({ category, quantity: fc.nat(4), overAcceptOnce: fc.boolean() }), {
        maxLength: 20,
      });
      const property = fc.asyncProperty(quotas, fc.array(asked, { maxLength: 3 }), async (fields, calls) => {
        const sender = newSender();
        enterWindow(sender.organizationId, 60);
        const list = fields.map((each) => sender.quota(each.scope, each));
        const counts = fields.map(() => 0);
        for (const call of calls) {
          const expected = call.map(({ category, quantity, overAcceptOnce }) => {
            const about = fields.flatMap((quota, n) => (quota.categories.includes(category) ? [{ ...quota, n }] : []));
            const isRefused = about.some(({ limit, n }) => {
              if (limit === undefined) return false;
              const count = counts[n] ?? 0;
              return quantity === 0 || overAcceptOnce ? count >= limit : count + quantity > limit;
            });
            if (!isRefused) for (const { n } of about) counts[n] = (counts[n] ?? 0) + quantity;
            return !isRefused;
          });
          expect(taken(await limits.take(call.map((each) => sender.request(list, each))))).toEqual(expected);
        }
      });
      await fc.assert(property, { numRuns: runs });
    });
  });
}
