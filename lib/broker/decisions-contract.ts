import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../../test/support/until.ts';
import { type Broker, BrokerUnavailableError } from './broker.ts';
import { newChannel } from './broker-harness.ts';
import {
  type Decision,
  type DecisionKind,
  type Decisions,
  type Subject,
  type TokenKey,
  tokenKey,
} from './decisions.ts';

export interface DecisionsHarness {
  /** Another process's broker on the same data, or the same one where there is only one process. */
  open(): Broker;
  /** Lets `ms` pass for what is remembered about the subject. */
  elapse(ms: number, subject: Subject): Promise<void>;
  elapseCount(ms: number, token: TokenKey): Promise<void>;
  /** Whether there are several processes. */
  readonly shared: boolean;
  close(): Promise<void>;
}

const TTL_MS = 60_000;

export function newDecision(fields: Partial<Decision> & { kind?: DecisionKind } = {}): Decision {
  return { kind: 'cancelled', about: newChannel(), atMs: 1_800_000_000_000, detail: '', ...fields };
}

/** Watches, and remembers what it is told. */
export function watched(decisions: Decisions, about: Subject['about']) {
  const told: Decision[] = [];
  const seen = { told, doubts: 0, end: () => {} };
  seen.end = decisions.watch({
    onDecision: (decision) => {
      if (decision.about === about) told.push(decision);
    },
    onDoubt: () => {
      seen.doubts += 1;
    },
  });
  return seen;
}

/** The guarantees of decisions.ts, to be run against every implementation. */
export function describeDecisionsContract(name: string, openHarness: () => Promise<DecisionsHarness>): void {
  describe(`decisions contract: ${name}`, () => {
    let harness: DecisionsHarness;
    let here: Broker;
    let there: Broker;

    beforeAll(async () => {
      harness = await openHarness();
      here = harness.open();
      there = harness.open();
    });
    afterAll(() => harness.close());

    test('what is decided is found everywhere, with its words', async () => {
      const decision = newDecision({ detail: 'ça suffit\n "now" \u0000 😀' });
      expect(await here.decisions.make(decision, TTL_MS)).toEqual(decision);
      for (const broker of [here, there]) expect(await broker.decisions.find([decision])).toEqual([decision]);
    });

    test('only for its subject, in the order asked', async () => {
      const channel = newChannel();
      const token = tokenKey(7n, randomUUID());
      const cancelled = newDecision({ about: channel, detail: 'enough' });
      const revoked = newDecision({ kind: 'token_revoked', about: token });
      await here.decisions.make(cancelled, TTL_MS);
      await here.decisions.make(revoked, TTL_MS);
      expect(
        await there.decisions.find([
          { kind: 'channel_revoked', about: channel },
          revoked,
          { kind: 'token_renewed', about: token },
          cancelled,
          { kind: 'token_revoked', about: tokenKey(8n, 'x') },
        ]),
      ).toEqual([undefined, revoked, undefined, cancelled, undefined]);
      expect(await here.decisions.find([])).toEqual([]);
    });

    test.for<[DecisionKind, number, string]>([
      ['cancelled', 2000, 'first'],
      ['cancelled', 1000, 'first'],
      ['channel_revoked', 2000, 'second'],
      ['token_revoked', 2000, 'second'],
      ['token_renewed', 2000, 'second'],
      // Clocks differ: what says less must not take back what was said.
      ['channel_revoked', 500, 'first'],
    ])('of two that are %s, the second at %d ms, counts the %s', async ([kind, secondMs, counts]) => {
      const first = newDecision({ kind, atMs: 1000, detail: 'first' });
      const second = { ...first, atMs: secondMs, detail: 'second' };
      const expected = counts === 'first' ? first : second;
      await here.decisions.make(first, TTL_MS);
      expect(await there.decisions.make(second, TTL_MS)).toEqual(expected);
      expect(await here.decisions.find([first])).toEqual([expected]);
    });

    // Whoever made the one before had a clock that is ahead, or so it seems.
    test.for<DecisionKind>(['channel_revoked', 'token_renewed'])(
      'what has no time of its own is made now, and after the one before: %s',
      async (kind) => {
        const { atMs: _, ...decision } = newDecision({ kind, detail: 'one' });
        const beforeMs = Date.now();
        const one = await here.decisions.make(decision, TTL_MS);
        expect(one.atMs).toBeGreaterThanOrEqual(beforeMs);
        const ahead = await here.decisions.make({ ...decision, atMs: Date.now() + 3_600_000, detail: 'ahead' }, TTL_MS);
        const last = await there.decisions.make({ ...decision, detail: 'last' }, TTL_MS);
        expect(last).toEqual({ ...decision, atMs: ahead.atMs + 1, detail: 'last' });
        expect(await here.decisions.find([decision])).toEqual([last]);
      },
    );

    test('counts for a token as often as it may, everywhere together, and then anew', async () => {
      const [token, other] = [tokenKey(7n, randomUUID()), tokenKey(7n, randomUUID())];
      const counted = await Promise.all(
        Array.from({ length: 15 }, (_, n) => (n % 2 === 0 ? here : there).decisions.count(token, 10, TTL_MS)),
      );
      expect(counted.filter((leftMs) => leftMs === undefined)).toHaveLength(10);
      for (const leftMs of counted) if (leftMs !== undefined) expect(leftMs).toBeLessThanOrEqual(TTL_MS);
      expect(await here.decisions.count(other, 10, 0.4)).toBeUndefined();
      await until('it begins anew', async () => {
        await harness.elapseCount(TTL_MS, token);
        return (await there.decisions.count(token, 10, TTL_MS)) === undefined;
      });
    });

    test('of many at once one counts, and all are answered with it', async () => {
      const one = newDecision();
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, n) =>
          (n % 2 === 0 ? here : there).decisions.make({ ...one, detail: `${n}` }, TTL_MS),
        ),
      );
      expect(new Set(answers.map(({ detail }) => detail)).size).toBe(1);
    });

    test('is remembered for as long as it was said, and not longer', async () => {
      const decision = newDecision();
      await here.decisions.make(decision, TTL_MS);
      await harness.elapse(TTL_MS - 2000, decision);
      expect(await there.decisions.find([decision])).toEqual([decision]);
      await harness.elapse(2001, decision);
      expect(await there.decisions.find([decision])).toEqual([undefined]);
      expect(await here.decisions.make({ ...decision, detail: 'anew' }, TTL_MS)).toMatchObject({ detail: 'anew' });
    });

    test.for<DecisionKind>(['cancelled', 'token_revoked'])(
      'what is made again is remembered anew: %s',
      async (kind) => {
        const decision = newDecision({ kind });
        await here.decisions.make(decision, TTL_MS);
        await harness.elapse(TTL_MS - 2000, decision);
        expect(await there.decisions.make(decision, TTL_MS)).toEqual(decision);
        await harness.elapse(TTL_MS - 2000, decision);
        expect(await here.decisions.find([decision])).toEqual([decision]);
        // What is to be remembered for longer is not shortened.
        await there.decisions.make(decision, 10);
        await harness.elapse(1000, decision);
        expect(await here.decisions.find([decision])).toEqual([decision]);
      },
    );

    // Tokens end at any fraction of a second, and so may what is remembered about them.
    test('is remembered for a time that is no whole number of ms', async () => {
      const decision = newDecision({ kind: 'token_renewed', about: tokenKey(7n, randomUUID()) });
      expect(await here.decisions.make(decision, TTL_MS + 0.4)).toEqual(decision);
      expect(await there.decisions.find([decision])).toEqual([decision]);
      expect(await there.decisions.make({ ...decision, atMs: decision.atMs + 1 }, 0.4)).toMatchObject({ detail: '' });
    });

    test('who watches is told: at once in the same process, soon in another, and not after its end', async () => {
      const about = newChannel();
      const near = watched(here.decisions, about);
      const far = watched(there.decisions, about);
      const gone = watched(here.decisions, about);
      gone.end();
      await here.decisions.make(newDecision({ about, detail: 'enough' }), TTL_MS);
      expect(near.told[0]).toMatchObject({ kind: 'cancelled', detail: 'enough' });
      await until('the other process is told', () => far.told.length > 0);
      expect(far.told[0]).toEqual(near.told[0]);
      expect(gone.told).toEqual([]);
      near.end();
      far.end();
    });

    test('who watches and then finds misses nothing, whenever it begins', async () => {
      const abouts = Array.from({ length: 40 }, () => newChannel());
      const making = abouts.map((about) => here.decisions.make(newDecision({ about }), TTL_MS));
      const watchers = abouts.map((about) => {
        const seen = watched(there.decisions, about);
        const look = async () => {
          const [found] = await there.decisions.find([{ kind: 'cancelled', about }]);
          if (found) seen.told.push(found);
        };
        return { seen, look };
      });
      await Promise.all(watchers.map(({ look }) => look()));
      await Promise.all(making);
      await until('all know', async () => {
        // What a watcher has to do when it is in doubt.
        await Promise.all(watchers.filter(({ seen }) => seen.doubts > 0).map(({ look }) => look()));
        return watchers.every(({ seen }) => seen.told.length > 0);
      });
      for (const { seen } of watchers) seen.end();
    });

    test('what is made again is answered as it counts, and told nobody again', async () => {
      const decision = newDecision({ detail: 'first' });
      const later = newDecision();
      const far = watched(there.decisions, decision.about);
      const marker = watched(there.decisions, later.about);
      await here.decisions.make(decision, TTL_MS);
      await until('it is told', () => far.told.length > 0);
      for (let n = 0; n < 5; n += 1) {
        expect(await here.decisions.make({ ...decision, detail: 'again', atMs: decision.atMs + n }, TTL_MS)).toEqual(
          decision,
        );
      }
      // What is told is told in its order.
      await here.decisions.make(later, TTL_MS);
      await until('what came later is told', () => marker.told.length > 0);
      expect(far.told).toEqual([decision]);
      far.end();
      marker.end();
    });

    test('what counts anew is told anew', async () => {
      const first = newDecision({
        kind: 'token_renewed',
        about: tokenKey(7n, randomUUID()),
        atMs: 1000,
        detail: 'one',
      });
      const far = watched(there.decisions, first.about);
      await here.decisions.make(first, TTL_MS);
      await here.decisions.make({ ...first, atMs: 2000, detail: 'two' }, TTL_MS);
      await here.decisions.make({ ...first, atMs: 1500, detail: 'late' }, TTL_MS);
      await until('the latest is told', () => far.told.at(-1)?.detail === 'two');
      expect(far.told.map(({ detail }) => detail)).not.toContain('late');
      far.end();
    });

    test('a closed broker refuses', async () => {
      const broker = harness.open();
      if (harness.shared) {
        await broker.close();
        await expect(broker.decisions.make(newDecision(), TTL_MS)).rejects.toThrow(BrokerUnavailableError);
        await expect(broker.decisions.find([newDecision()])).rejects.toThrow(BrokerUnavailableError);
      }
    });

    test('the id of a token can be anything', () => {
      const keys = ['', '}{', 'x'.repeat(5000), 'é', 'a/b:c'].map((id) => tokenKey(7n, id));
      expect(new Set(keys).size).toBe(5);
      for (const key of keys) expect(key).toMatch(/^7\/[\w-]{43}$/);
      expect(tokenKey(7n, 'x')).not.toBe(tokenKey(8n, 'x'));
    });
  });
}
