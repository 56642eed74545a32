import { randomUUID } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import { BrokerUnavailableError, type ChannelKey, channelKey } from '#lib/broker/broker.ts';
import type { Decision, Decisions, DecisionWatcher } from '#lib/broker/decisions.ts';
import { createMemoryBroker } from '#lib/broker/memory-broker.ts';
import { until } from '../../test/support/until.ts';
import {
  CancelWatches,
  MAX_ALL_WATCHED_CHANNELS,
  MAX_WATCHED_CHANNELS,
  MAX_WATCHED_CHANNELS_WHEN_FULL,
} from './cancel-watches.ts';

const opened: { close(): unknown }[] = [];
afterEach(() => {
  for (const one of opened.splice(0)) one.close();
});

/** Real decisions behind a line that can be cut: then nothing is told, and nothing found. */
function setUp() {
  const broker = createMemoryBroker();
  const line = { stands: true, looks: 0, doubt: () => {} };
  const decisions: Decisions = {
    make: (decision, ttlMs) => broker.decisions.make(decision, ttlMs),
    count: (token, limit, ttlMs) => broker.decisions.count(token, limit, ttlMs),
    find: async (subjects) => {
      line.looks += subjects.length;
      if (!line.stands) throw new BrokerUnavailableError('cut');
      return broker.decisions.find(subjects);
    },
    watch: (watcher: DecisionWatcher) => {
      line.doubt = () => watcher.onDoubt();
      return broker.decisions.watch({ ...watcher, onDecision: (one) => line.stands && watcher.onDecision(one) });
    },
  };
  const errors: unknown[] = [];
  const watches = new CancelWatches(decisions, (error) => errors.push(error));
  opened.push(watches, broker);
  const cancel = (about: ChannelKey, detail = '') =>
    broker.decisions.make({ kind: 'cancelled', about, atMs: Date.now(), detail } satisfies Decision, 60_000);
  return { watches, line, errors, cancel };
}

function newChannels(count: number): ChannelKey[] {
  return Array.from({ length: count }, () => channelKey(7n, randomUUID()));
}

describe('what is watched for cancellation', () => {
  test('is told once: what was cancelled before, and what is later', async () => {
    const { watches, cancel } = setUp();
    const [before, after, other] = newChannels(3) as [ChannelKey, ChannelKey, ChannelKey];
    await cancel(before, 'enough');
    let calls = 0;
    const watch = watches.watch(() => {
      calls += 1;
    });
    for (const channel of [before, after, before]) watch.add(channel);
    await until('the first is told', () => calls === 1);
    expect(watch.take()).toEqual([{ channelId: before.slice(2), reason: 'enough' }]);
    await cancel(other);
    await cancel(after, 'also');
    await cancel(after, 'again');
    watch.add(after);
    watch.add(before);
    expect(watch.take()).toEqual([{ channelId: after.slice(2), reason: 'also' }]);
    expect(watch.take()).toEqual([]);
    expect([calls, watch.size, watches.channels]).toEqual([2, 0, 0]);
  });

  test('is told to everybody who watches it, and to nobody who does no more', async () => {
    const { watches, cancel } = setUp();
    const [channel] = newChannels(1) as [ChannelKey];
    const [one, two, ended, closed] = Array.from({ length: 4 }, () => watches.watch(() => {}));
    for (const watch of [one, two, ended, closed]) watch?.add(channel);
    ended?.remove(channel);
    closed?.close();
    closed?.close();
    expect(watches.open).toBe(3);
    await cancel(channel);
    expect([one, two, ended, closed].map((watch) => watch?.take().length)).toEqual([1, 1, 0, 0]);
  });

  test('may be cancelled while the line is cut', async () => {
    const { watches, line, cancel, errors } = setUp();
    const [watched, later] = newChannels(2) as [ChannelKey, ChannelKey];
    const watch = watches.watch(() => {});
    watch.add(watched);
    await until('it was looked up', () => line.looks === 1);
    line.stands = false;
    await cancel(watched);
    watch.add(later);
    await cancel(later);
    await until('it was looked up in vain', () => line.looks === 2);
    line.stands = true;
    line.doubt();
    await until('both are told', () => watch.size === 0);
    expect(watch.take()).toHaveLength(2);
    expect(errors).toEqual([]);
  });

  test('is bounded: the first ones make room, and nothing is left of those that are over', async () => {
    const { watches, cancel } = setUp();
    const watch = watches.watch(() => {});
    const channels = newChannels(MAX_WATCHED_CHANNELS + 2);
    for (const channel of channels) watch.add(channel);
    expect([watch.size, watches.channels]).toEqual([MAX_WATCHED_CHANNELS, MAX_WATCHED_CHANNELS]);
    for (const channel of channels) await cancel(channel);
    expect(watch.take()).toHaveLength(MAX_WATCHED_CHANNELS);
    expect([watch.size, watches.channels]).toEqual([0, 0]);
  });

  test('all together are bounded: once they have so many, each has few', () => {
    const { watches } = setUp();
    const fill = () => {
      const watch = watches.watch(() => {});
      for (const channel of newChannels(MAX_WATCHED_CHANNELS)) watch.add(channel);
      return watch;
    };
    const first = Array.from({ length: MAX_ALL_WATCHED_CHANNELS / MAX_WATCHED_CHANNELS }, fill);
    expect(watches.channels).toBe(MAX_ALL_WATCHED_CHANNELS);
    expect(fill().size).toBe(MAX_WATCHED_CHANNELS_WHEN_FULL);
    // One that has many from before gives them back as it goes on.
    for (const channel of newChannels(MAX_WATCHED_CHANNELS)) first[0]?.add(channel);
    expect(first[0]?.size).toBeLessThan(MAX_WATCHED_CHANNELS);
    for (const watch of first) watch.close();
    expect(watches.channels).toBe(MAX_WATCHED_CHANNELS_WHEN_FULL);
  });
});
