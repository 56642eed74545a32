import { describe, expect, test } from 'vitest';
import type { Outcome } from '#lib/ingest/outcome.ts';
import type { EventStore } from './event-store.ts';
import { newEvent, newProject, save, TestPartition, totalsOf } from './event-store-harness.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

export function describeOutcomes(currentStore: () => EventStore): void {
  describe('outcomes', () => {
    test('are counted by hour and in all, exactly', async () => {
      const store = currentStore();
      const whose = newProject();
      const hourMs = Math.floor(Date.now() / HOUR_MS) * HOUR_MS;
      const partition = new TestPartition();
      const outcomes = [
        newOutcome({ ...whose, timestampMs: hourMs }),
        newOutcome({ ...whose, timestampMs: hourMs + HOUR_MS - 1, quantity: 5 }),
        newOutcome({ ...whose, timestampMs: hourMs - 1, quantity: 100 }),
        newOutcome({ ...whose, timestampMs: hourMs, reason: 'other' }),
        newOutcome({ ...whose, timestampMs: hourMs, keyId: 8n }),
        newOutcome({ ...whose, timestampMs: hourMs, category: 'attachment', quantity: 4_000_000_000 }),
        newOutcome({ ...whose, timestampMs: hourMs, outcome: 'client_discard', reason: undefined, keyId: undefined }),
      ];
      for (let round = 0; round < 2; round++) {
        await store.apply(partition.next(...outcomes.map((outcome) => ({ kind: 'outcome', outcome }) as const)));
      }
      await save(store, newEvent({ ...whose, receivedMs: hourMs + 5 }));

      const of = { ...whose, keyId: undefined, category: undefined, fromMs: hourMs - HOUR_MS, limit: 100 };
      const all = await store.outcomes({ ...of, toMs: hourMs + HOUR_MS });
      const texts = all.map(({ hourMs: hour, keyId, outcome, reason, category, quantity, times }) =>
        [(hour - hourMs) / HOUR_MS, keyId, outcome, reason, category, quantity, times].join(' '),
      );
      expect(texts).toEqual([
        '-1 7 rate_limited quota error 200 2',
        '0 0 client_discard  error 2 2',
        '0 7 accepted  error 1 1',
        '0 7 rate_limited other error 2 2',
        '0 7 rate_limited quota attachment 8000000000 2',
        '0 7 rate_limited quota error 12 4',
        '0 8 rate_limited quota error 2 2',
      ]);
      expect(all.every(({ organizationId }) => organizationId === whose.organizationId)).toBe(true);
      expect(await store.outcomes({ ...of, toMs: hourMs })).toEqual(all.slice(0, 1));
      expect(await store.outcomes({ ...of, fromMs: hourMs - HOUR_MS + 1, toMs: hourMs + 1 })).toEqual(all.slice(1));
      expect(await store.outcomes({ ...of, toMs: hourMs + 1, keyId: 8n })).toEqual(all.slice(-1));
      expect(await store.outcomes({ ...of, toMs: hourMs + 1, category: 'attachment' })).toEqual(all.slice(4, 5));
      expect(await store.outcomes({ ...of, toMs: hourMs + 1, projectId: undefined, limit: 3 })).toEqual(
        all.slice(0, 3),
      );
      expect(await store.outcomes({ ...of, toMs: hourMs + 1, projectId: 1n })).toEqual([]);

      expect(await totalsOf(store, whose.organizationId)).toEqual({
        'accepted error': 1n,
        'client_discard error': 2n,
        'rate_limited other error': 2n,
        'rate_limited quota attachment': 8_000_000_000n,
        'rate_limited quota error': 214n,
      });
      const everybody = await store.totals();
      for (const total of await store.totals(whose.organizationId)) expect(everybody).toContainEqual(total);
    });

    test('that are in the log again, as an append was repeated, count once', async () => {
      const store = currentStore();
      const whose = newProject();
      const partition = new TestPartition();
      const of = (writer: string, ...sequences: number[]) =>
        sequences.map((sequence) => {
          const outcome = newOutcome({ ...whose, reason: writer, stamp: { writer, sequence } });
          return { kind: 'outcome', outcome } as const;
        });
      // Of one append its beginning, and of it another's; then the whole of both again, in several batches.
      await store.apply(partition.next(...of('a', 0, 1, 2), ...of('b', 5), ...of('a', 0, 1)));
      await store.apply(partition.next(...of('a', 2, 3), ...of('b', 5, 6), ...of('a', 0, 1, 2)));
      await store.apply(partition.next(...of('a', 3, 7), ...of('c', 0, 0)));
      const unstamped = { kind: 'outcome', outcome: newOutcome({ ...whose, reason: 'none' }) } as const;
      await store.apply(partition.next(unstamped, unstamped));
      // Another partition has had others of the same writers.
      await store.apply(new TestPartition({ topicId: partition.topicId, partition: 1 }).next(...of('a', 2)));
      expect(await totalsOf(store, whose.organizationId)).toEqual({
        'rate_limited a error': 6n,
        'rate_limited b error': 2n,
        'rate_limited c error': 1n,
        'rate_limited none error': 2n,
      });
      await store.deleteExpired(Date.now() + 29 * DAY_MS);
      await store.apply(partition.next(...of('a', 7)));
      await store.deleteExpired(Date.now() + 31 * DAY_MS);
      await store.apply(partition.next(...of('a', 7)));
      expect((await totalsOf(store, whose.organizationId))['rate_limited a error']).toBe(7n);
    });

    test('of what nobody knows are counted for nobody', async () => {
      const store = currentStore();
      const before = (await totalsOf(store, 0n))['invalid project_id error'] ?? 0n;
      const outcome = newOutcome({
        organizationId: undefined,
        projectId: undefined,
        keyId: undefined,
        outcome: 'invalid',
        reason: 'project_id',
      });
      await store.apply(new TestPartition().next({ kind: 'outcome', outcome }));
      expect((await totalsOf(store, 0n))['invalid project_id error']).toBe(before + 1n);
    });

    test('any reason is counted, of a long one its beginning', async () => {
      const store = currentStore();
      const whose = newProject();
      const reasons = [
        'a\0b',
        'c\ud800',
        'c\ud801',
        `${'w'.repeat(199)}\u{1f600}`,
        `${'x'.repeat(10_000)}y`,
        `${'x'.repeat(10_000)}z`,
        '👩‍🚀 / \n',
      ];
      const outcomes = reasons.map((reason) => newOutcome({ ...whose, reason }));
      await store.apply(
        new TestPartition().next(...outcomes.map((outcome) => ({ kind: 'outcome', outcome }) as const)),
      );
      expect(await totalsOf(store, whose.organizationId)).toEqual({
        'rate_limited a\ufffdb error': 1n,
        'rate_limited c\ufffd error': 2n,
        [`rate_limited ${'w'.repeat(199)}\ufffd error`]: 1n,
        [`rate_limited ${'x'.repeat(200)} error`]: 2n,
        'rate_limited 👩‍🚀 / \n error': 1n,
      });
    });

    test('hours and keys that nobody can have are no hours and no keys', async () => {
      const store = currentStore();
      const whose = newProject();
      await store.apply(new TestPartition().next({ kind: 'outcome', outcome: newOutcome(whose) }));
      const all = { ...whose, keyId: undefined, category: undefined, fromMs: -9e21, toMs: 9e21, limit: 10 };
      expect(await store.outcomes(all)).toHaveLength(1);
      expect(await store.outcomes({ ...all, fromMs: 9e21 })).toEqual([]);
      expect(await store.outcomes({ ...all, keyId: 2n ** 64n - 1n })).toEqual([]);
      expect(await store.outcomes({ ...all, category: '\0' })).toEqual([]);
    });
  });
}

function newOutcome(values: Partial<Outcome>): Outcome {
  return {
    timestampMs: Date.now(),
    outcome: 'rate_limited',
    organizationId: 1n,
    projectId: 1n,
    keyId: 7n,
    reason: 'quota',
    eventId: undefined,
    remoteAddr: undefined,
    category: 'error',
    quantity: 1,
    ...values,
  };
}
