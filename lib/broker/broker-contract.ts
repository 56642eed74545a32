import { randomUUID } from 'node:crypto';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { until } from '../../test/support/until.ts';
import {
  type Broker,
  BrokerUnavailableError,
  type ChannelKey,
  type Entry,
  type NewMessage,
  type PublishRate,
  type PublishResult,
  type Retention,
} from './broker.ts';
import { brokerCommands, checkReceived, MESSAGE_IDS, type Real } from './broker-commands.ts';
import { type BrokerHarness, newChannel, newMessage } from './broker-harness.ts';
import { ChannelModel } from './broker-model.ts';
import { describeCoalescing } from './coalescing-contract.ts';
import { BEFORE_ALL, compareEntryIds, type EntryId, entryIdMs } from './entry-id.ts';

export interface ContractOptions {
  readonly open: (retention: Retention) => Promise<BrokerHarness>;
  /** How many sequences of commands are tried. */
  readonly runs: number;
}

// Small enough that a few publishes reach every limit. The TTLs lie between the sums of what the commands let elapse.
const RETENTION: Retention = { maxEntries: 4, minAgeMs: 10, maxBytes: 4000, sealedTtlMs: 150_000 };
const IDLE_MS = 50_000;
const IDLE_INTERVAL_MS = 150_000;
const IDLE_TTL_MS = IDLE_MS + 2 * IDLE_INTERVAL_MS;
/** A run that hangs is told as a failure, with its commands. */
const MAX_RUN_MS = 20_000;
const MAX_SEARCH_MS = 60_000;
const UNLIMITED: PublishRate = { name: 'unary', perSec: 0 };

/** The guarantees of broker.ts, to be run against every implementation. */
export function describeBrokerContract(name: string, { open, runs }: ContractOptions): void {
  describe(`broker contract: ${name}`, () => {
    let harness: BrokerHarness;
    let broker: Broker;

    beforeAll(async () => {
      harness = await open(RETENTION);
      broker = harness.broker;
      await broker.governIdle(IDLE_MS, IDLE_INTERVAL_MS);
    });
    afterAll(() => harness.close());

    test('any sequence of events leaves what the model has', async () => {
      const property = fc.asyncProperty(brokerCommands(harness), async (commands) => {
        const [real, end] = await setUp(harness);
        const model = { channels: real.channels.map(() => new ChannelModel(RETENTION, IDLE_TTL_MS)), saved: undefined };
        await fc.asyncModelRun(() => ({ model, real }), commands);
        await checkReceived(model, real);
        end();
      });
      // A failure names its seed and the commands that are left after shrinking, which must not take for ever either.
      await fc.assert(property, { numRuns: runs, timeout: MAX_RUN_MS, interruptAfterTimeLimit: MAX_SEARCH_MS });
    }, 120_000);

    test('publishes that race each other make one chain', async () => {
      const channel = newChannel();
      const size = 50;
      const data = new Uint8Array(0);
      const results = await Promise.all(
        Array.from({ length: size }, () => broker.publish(channel, newMessage({ data }), UNLIMITED)),
      );
      expect(new Set(results.map((result) => (result.kind === 'stored' ? result.id : result.kind))).size).toBe(size);
      const { entries, tail } = await broker.read(channel, BEFORE_ALL, 1000);
      expect(entries.at(-1)?.id).toBe(tail.last);
      for (const [n, entry] of entries.entries()) {
        const before = entries[n - 1];
        if (!before) continue;
        expect(entry.prev).toBe(before.id);
        expect(compareEntryIds(entry.id, before.id)).toBeGreaterThan(0);
      }
    });

    test('a message that is sent many times at once is stored once', async () => {
      const channel = newChannel();
      const message = newMessage();
      const results = await Promise.all(
        Array.from({ length: 20 }, () => broker.publish(channel, message, { name: 'unary', perSec: 1 })),
      );
      expect(results.filter(({ kind }) => kind === 'stored')).toHaveLength(1);
      expect(results.filter(({ kind }) => kind === 'duplicate')).toHaveLength(19);
      expect((await broker.read(channel, BEFORE_ALL, 10)).entries).toHaveLength(1);
    });

    test('many at once are stored in their order, in more steps than one, and repeated they are stored once', async () => {
      const roomy = await open({ ...RETENTION, maxEntries: 1000, maxBytes: 8_000_000 });
      const channel = newChannel();
      const sizes = [...new Array(150).fill(50), ...new Array(40).fill(16_384), 1];
      const messages = sizes.map((size, n) => newMessage({ sequence: BigInt(n), data: new Uint8Array(size).fill(n) }));
      const received: Entry[] = [];
      const stop = await roomy.broker.listen(channel, (entry) => received.push(entry));
      const once: PublishRate = { name: 'unary', perSec: 1 };
      // As after an answer that was lost in the middle: some are there already.
      expect((await roomy.broker.publishMany(channel, messages.slice(0, 70), once)).map(({ kind }) => kind)).toEqual(
        new Array(70).fill('stored'),
      );
      const results = await roomy.broker.publishMany(channel, messages, { name: 'stream', perSec: 1 });
      expect(results.map(({ kind }) => kind)).toEqual([
        ...new Array(70).fill('duplicate'),
        ...new Array(121).fill('stored'),
      ]);
      const again = await roomy.broker.publishMany(channel, messages, once);
      expect(again).toEqual(results.map((result) => ({ ...result, kind: 'duplicate' })));
      const { entries } = await roomy.broker.read(channel, BEFORE_ALL, 1000);
      expect(entries.map(({ id }) => ({ kind: 'duplicate', id }))).toEqual(again);
      expect(entries.map(({ data }) => data.length)).toEqual(sizes);
      for (const [n, entry] of entries.entries()) expect(entry.prev).toBe(entries[n - 1]?.id ?? BEFORE_ALL);
      await until('all is delivered', () => received.length === sizes.length);
      expect(received.map(({ id }) => id)).toEqual(entries.map(({ id }) => id));
      expect(await roomy.broker.publishMany(channel, [], once)).toEqual([]);
      stop();
      await roomy.close();
    });

    test('what an END in the middle of many is followed by is refused, however many steps later', async () => {
      const channel = newChannel();
      const messages = Array.from({ length: 150 }, (_, n) =>
        newMessage({ phase: n === 3 ? Phase.END : Phase.DELTA, data: new Uint8Array(1) }),
      );
      const results = await broker.publishMany(channel, messages, UNLIMITED);
      const end = results[3];
      const by = end?.kind === 'stored' ? end.id : undefined;
      expect(results.map(({ kind }) => kind)).toEqual([
        ...new Array(4).fill('stored'),
        ...new Array(146).fill('sealed'),
      ]);
      expect(results[149]).toEqual({ kind: 'sealed', by });
      expect(await broker.publishMany(channel, messages.slice(0, 5), UNLIMITED)).toEqual([
        ...results.slice(0, 4).map((result) => ({ ...result, kind: 'duplicate' })),
        { kind: 'sealed', by },
      ]);
    });

    test('many at once count as one, or each, as the rate says', async () => {
      const channel = newChannel();
      const many = () => Array.from({ length: 100 }, () => newMessage({ data: new Uint8Array(1) }));
      const calls: PublishRate = { name: 'unary', perSec: 2, counts: 'calls' };
      const kinds = async (messages: NewMessage[], rate: PublishRate) =>
        (await broker.publishMany(channel, messages, rate)).map(({ kind }) => kind);
      expect(await kinds(many(), calls)).toEqual(new Array(100).fill('stored'));
      expect(await kinds(many(), calls)).toEqual(new Array(100).fill('stored'));
      expect(await kinds(many(), calls)).toEqual(new Array(100).fill('rate_limited'));
      const each: PublishRate = { name: 'stream', perSec: 70, counts: 'messages' };
      expect(await kinds(many(), each)).toEqual([
        ...new Array(70).fill('stored'),
        ...new Array(30).fill('rate_limited'),
      ]);
    });

    test('many at once, as often as the rate allows, push out nothing that is young', async () => {
      const roomy = await open({ maxEntries: 4, minAgeMs: 60_000, maxBytes: 8_000_000, sealedTtlMs: 150_000 });
      const channel = newChannel();
      const ids: EntryId[] = [];
      for (let call = 0; call < 20; call += 1) {
        const messages = Array.from({ length: 250 }, () => newMessage({ data: new Uint8Array(100) }));
        const results = await roomy.broker.publishMany(channel, messages, { name: 'unary', perSec: 20 });
        for (const result of results) if (result.kind === 'stored') ids.push(result.id);
      }
      expect(ids).toHaveLength(5000);
      const { entries } = await roomy.broker.read(channel, BEFORE_ALL, 10_000);
      expect(entries.map(({ id }) => id)).toEqual(ids);
      await roomy.close();
    });

    test('many at once that are more than the log may have leave its end, and are all delivered', async () => {
      const channel = newChannel();
      const received: Entry[] = [];
      const stop = await broker.listen(channel, (entry) => received.push(entry));
      const messages = Array.from({ length: 60 }, () => newMessage({ data: new Uint8Array(272) }));
      const results = await broker.publishMany(channel, messages, UNLIMITED);
      const ids = results.map((result) => (result.kind === 'stored' ? result.id : result.kind));
      const { entries } = await broker.read(channel, BEFORE_ALL, 100);
      expect(entries.map(({ id }) => id)).toEqual(ids.slice(-10));
      await until('all is delivered', () => received.length === 60);
      // Deduplication remembers what is retained, and no more.
      const again = await broker.publishMany(channel, [messages[59]!, messages[0]!], UNLIMITED);
      expect(again.map(({ kind }) => kind)).toEqual(['duplicate', 'stored']);
      stop();
    });

    test('a stream that ends with the id it began with is whole', async () => {
      const channel = newChannel();
      const messageId = randomUUID();
      const sent: NewMessage[] = [
        newMessage({ messageId, phase: Phase.START, sequence: 0n }),
        newMessage({ sequence: 1n }),
        newMessage({ sequence: 2n, data: Uint8Array.from({ length: 256 }, (_, n) => n) }),
        newMessage({ messageId, phase: Phase.END, sequence: 3n }),
      ];
      for (const message of sent) expect((await broker.publish(channel, message, UNLIMITED)).kind).toBe('stored');
      const { entries, tail } = await broker.read(channel, BEFORE_ALL, 10);
      expect(entries.map(({ data }) => [...data])).toEqual(sent.map(({ data }) => [...data]));
      expect(entries.map(({ seals }) => seals)).toEqual([false, false, false, true]);
      expect(tail).toEqual({ last: entries[3]?.id, sealedBy: entries[3]?.id });
    });

    test('a straggler is refused for as long as the seal lives, which is longer than the log', async () => {
      const channel = newChannel();
      const end = newMessage({ phase: Phase.END });
      const stored = await broker.publish(channel, end, UNLIMITED);
      const by = stored.kind === 'stored' ? stored.id : undefined;
      expect(await broker.publish(channel, newMessage(), UNLIMITED)).toEqual({ kind: 'sealed', by });
      expect(await broker.publish(channel, end, UNLIMITED)).toEqual({ kind: 'duplicate', id: by });
      await harness.elapse(RETENTION.sealedTtlMs + 1000, [channel]);
      expect(await broker.read(channel, BEFORE_ALL, 10)).toEqual({
        entries: [],
        tail: { last: BEFORE_ALL, sealedBy: by },
      });
      expect(await broker.publish(channel, end, UNLIMITED)).toEqual({ kind: 'sealed', by });
      await harness.elapse(24 * 60 * 60 * 1000, [channel]);
      expect((await broker.publish(channel, newMessage(), UNLIMITED)).kind).toBe('stored');
    });

    test('rates are counted apart, and a refusal says when to come again', async () => {
      const channel = newChannel();
      const rate: PublishRate = { name: 'unary', perSec: 2 };
      const first = newMessage();
      const began = await broker.publish(channel, first, rate);
      expect((await broker.publish(channel, newMessage(), rate)).kind).toBe('stored');
      const refused = await broker.publish(channel, newMessage(), rate);
      const retryAfterMs = refused.kind === 'rate_limited' ? refused.retryAfterMs : Number.NaN;
      expect(retryAfterMs).toBeGreaterThan(0);
      expect(retryAfterMs).toBeLessThanOrEqual(1000);
      expect((await broker.publish(channel, first, rate)).kind).toBe('duplicate');
      expect((await broker.publish(channel, newMessage(), { name: 'stream', perSec: 2 })).kind).toBe('stored');
      expect((await broker.publish(newChannel(), newMessage(), rate)).kind).toBe('stored');
      // Neither before the window is over, nor much later than the refusal said.
      let next = await broker.publish(channel, newMessage(), rate);
      for (let waitedMs = 0; next.kind === 'rate_limited' && waitedMs <= retryAfterMs; waitedMs += 20) {
        await harness.wait(20);
        next = await broker.publish(channel, newMessage(), rate);
      }
      const storedMs = (result: PublishResult) => (result.kind === 'stored' ? entryIdMs(result.id) : Number.NaN);
      // Ids are made a little after the window began, on a busy machine some milliseconds.
      expect(storedMs(next) - storedMs(began)).toBeGreaterThan(900);
    });

    test('retention holds the log down, and never takes what it promises to keep', async () => {
      const channel = newChannel();
      const ids: EntryId[] = [];
      for (let n = 0; n < 300; n += 1) {
        const data = new Uint8Array((n * 37) % 900);
        const result = await broker.publish(channel, newMessage({ sequence: BigInt(n), data }), UNLIMITED);
        if (result.kind === 'stored') ids.push(result.id);
        if (n % 3 === 0) await harness.wait(1);
      }
      const { entries } = await broker.read(channel, BEFORE_ALL, 1000);
      const bytes = entries.reduce((sum, { data }) => sum + data.length + 128, 0);
      expect(bytes).toBeLessThanOrEqual(RETENTION.maxBytes);
      expect(entries.map(({ id }) => id)).toEqual(ids.slice(-entries.length));
      const newest = entryIdMs(ids.at(-1) ?? BEFORE_ALL);
      const young = ids.filter((id) => newest - entryIdMs(id) <= RETENTION.minAgeMs).length;
      const kept = Math.max(young, RETENTION.maxEntries + 1);
      // Either everything that is to be kept is there, or another entry would not have fitted.
      if (entries.length < kept) expect(bytes + 900 + 128).toBeGreaterThan(RETENTION.maxBytes);
      else expect(entries).toHaveLength(kept);
    });

    test('one message may be larger than the log', async () => {
      const channel = newChannel();
      await broker.publish(channel, newMessage(), UNLIMITED);
      await broker.publish(channel, newMessage({ data: new Uint8Array(RETENTION.maxBytes) }), UNLIMITED);
      const { entries } = await broker.read(channel, BEFORE_ALL, 10);
      expect(entries.map(({ data }) => data.length)).toEqual([RETENTION.maxBytes]);
      expect(entries[0]?.prev).not.toBe(BEFORE_ALL);
    });

    test('an idle log expires, and what is published then begins a new one', async () => {
      const channel = newChannel();
      const message = newMessage();
      await broker.publish(channel, message, UNLIMITED);
      await harness.elapse(IDLE_TTL_MS - 30_000, [channel]);
      expect((await broker.publish(channel, newMessage(), UNLIMITED)).kind).toBe('stored');
      await harness.elapse(IDLE_TTL_MS - 30_000, [channel]);
      expect((await broker.read(channel, BEFORE_ALL, 10)).entries).toHaveLength(2);
      await harness.elapse(60_000, [channel]);
      expect(await broker.tails([channel])).toEqual([{ last: BEFORE_ALL, sealedBy: undefined }]);
      expect((await broker.publish(channel, message, UNLIMITED)).kind).toBe('stored');
      expect((await broker.read(channel, BEFORE_ALL, 10)).entries[0]?.prev).toBe(BEFORE_ALL);
    });

    test('endIdle ends an idle stream once, however many do it, and tells its listeners', async () => {
      const channel = newChannel();
      const received: Entry[] = [];
      const stop = await broker.listen(channel, (entry) => received.push(entry));
      await broker.publish(channel, newMessage(), UNLIMITED);
      const sealed = newChannel();
      await broker.publish(sealed, newMessage({ phase: Phase.END }), UNLIMITED);
      expect((await broker.endIdle(60_000, 10_000)).ended).not.toContain(channel);
      await harness.wait(2);
      const turns = await Promise.all([1, 2, 3].map(() => broker.endIdle(1, 10_000)));
      const ended = turns.flatMap((turn) => turn.ended);
      expect(ended.filter((key) => key === channel)).toHaveLength(1);
      expect(ended).not.toContain(sealed);
      await until('producer_lost arrives', () => received.length === 2);
      const { entries, tail } = await broker.read(channel, BEFORE_ALL, 10);
      expect(entries[1]).toMatchObject({ kind: 'producer_lost', seals: true, prev: entries[0]?.id });
      expect(received[1]).toMatchObject({ kind: 'producer_lost', seals: true, id: tail.sealedBy });
      expect(await broker.publish(channel, newMessage(), UNLIMITED)).toEqual({ kind: 'sealed', by: tail.last });
      stop();
    });

    test('endIdle leaves alone what is kept when idle, which expires, can be published to again, and is sealed by END', async () => {
      const channel = newChannel();
      expect((await broker.publish(channel, newMessage(), UNLIMITED, 'kept')).kind).toBe('stored');
      await harness.wait(1100);
      expect((await broker.publish(channel, newMessage(), UNLIMITED, 'kept')).kind).toBe('stored');
      await harness.wait(2);
      expect((await broker.endIdle(1, 10_000)).ended).not.toContain(channel);
      expect((await broker.read(channel, BEFORE_ALL, 10)).entries).toHaveLength(2);
      await harness.elapse(IDLE_TTL_MS + 30_000, [channel]);
      expect(await broker.tails([channel])).toEqual([{ last: BEFORE_ALL, sealedBy: undefined }]);
      expect((await broker.publish(channel, newMessage(), UNLIMITED, 'kept')).kind).toBe('stored');
      const end = await broker.publish(channel, newMessage({ phase: Phase.END }), UNLIMITED, 'kept');
      const by = end.kind === 'stored' ? end.id : undefined;
      expect(await broker.publish(channel, newMessage(), UNLIMITED, 'kept')).toEqual({ kind: 'sealed', by });
      expect((await broker.endIdle(0, 10_000)).ended).not.toContain(channel);
    });

    test('endIdle looks at no more than it is allowed to', async () => {
      const channels = Array.from({ length: 7 }, newChannel);
      for (const channel of channels) await broker.publish(channel, newMessage(), UNLIMITED);
      await harness.wait(2);
      const ended: ChannelKey[] = [];
      for (let turn = 0; turn < 100 && ended.length < channels.length; turn += 1) {
        const result = await broker.endIdle(1, 3);
        expect(result.examined).toBeLessThanOrEqual(3);
        ended.push(...result.ended.filter((key) => channels.includes(key)));
      }
      expect(ended.sort()).toEqual([...channels].sort());
    });

    test('one listener a channel, until it ends', async () => {
      const channel = newChannel();
      const first: Entry[] = [];
      const second: Entry[] = [];
      const stop = await broker.listen(channel, (entry) => first.push(entry));
      await expect(broker.listen(channel, () => undefined)).rejects.toThrow('listened to already');
      await broker.publish(channel, newMessage(), UNLIMITED);
      await until('it arrives', () => first.length === 1);
      stop();
      stop();
      const stopSecond = await broker.listen(channel, (entry) => second.push(entry));
      stop();
      await broker.publish(channel, newMessage(), UNLIMITED);
      await until('it arrives', () => second.length === 1);
      expect(first).toHaveLength(1);
      stopSecond();
    });

    test('a duplicate and a refusal are not delivered', async () => {
      const channel = newChannel();
      const received: Entry[] = [];
      const stop = await broker.listen(channel, (entry) => received.push(entry));
      const message = newMessage();
      const end = newMessage({ phase: Phase.END });
      for (const sent of [message, message, end, end, newMessage()]) await broker.publish(channel, sent, UNLIMITED);
      await until('the end arrives', () => received.some(({ seals }) => seals));
      expect(received).toHaveLength(2);
      stop();
    });

    describeCoalescing(open);

    test('answers a ping', async () => {
      await broker.ping(1000);
    });

    test('a closed broker says so', async () => {
      const closed = await open(RETENTION);
      await closed.close();
      await closed.broker.close();
      await expect(closed.broker.publish(newChannel(), newMessage(), UNLIMITED)).rejects.toThrow(
        BrokerUnavailableError,
      );
      await expect(closed.broker.listen(newChannel(), () => undefined)).rejects.toThrow(BrokerUnavailableError);
    });
  });
}

async function setUp(harness: BrokerHarness): Promise<[Real, () => void]> {
  const channels = [newChannel(), newChannel()];
  const received: Entry[][] = channels.map(() => []);
  const stops = await Promise.all(
    channels.map((channel, n) => harness.broker.listen(channel, (entry) => received[n]?.push(entry))),
  );
  const messageIds = Array.from({ length: MESSAGE_IDS }, () => randomUUID());
  const end = () => {
    for (const stop of stops) stop();
  };
  return [{ harness, channels, messageIds, received, cut: false, rollBack: undefined }, end];
}
