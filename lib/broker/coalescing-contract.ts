import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { until } from '../../test/support/until.ts';
import {
  type Broker,
  type ChannelKey,
  type Entry,
  MAX_PIECE_BYTES,
  type NewMessage,
  type PublishRate,
  type PublishResult,
  type Retention,
} from './broker.ts';
import { type BrokerHarness, newChannel } from './broker-harness.ts';
import { encodeMessage, type TestMessage, textDeltaOf } from './coalescing-model.ts';
import { BEFORE_ALL, type EntryId } from './entry-id.ts';

const RETENTION: Retention = { maxEntries: 1200, minAgeMs: 0, maxBytes: 8_000_000, sealedTtlMs: 150_000 };
const UNLIMITED: PublishRate = { name: 'unary', perSec: 0 };
const READ_LIMIT = 128;

/** A message of `channel` whose bytes say what it says. */
export function messageOf(channel: ChannelKey, fields: Partial<TestMessage> = {}): NewMessage {
  const message = { messageId: randomUUID(), phase: Phase.DELTA, sequence: 1n, ...fields };
  return { ...message, data: encodeMessage(channel, message) };
}

export function startOf(channel: ChannelKey, coalesceWindowMs?: number): NewMessage {
  return messageOf(channel, { phase: Phase.START, ...(coalesceWindowMs ? { coalesceWindowMs } : {}) });
}

export function textOf(channel: ChannelKey, text: string, name = 'text'): NewMessage {
  return messageOf(channel, { payload: { [name]: text } });
}

/** Tokens as models send them: words, parts of them, and characters that UTF-8 spells in up to 25 bytes. */
export function tokensOf(channel: ChannelKey, count: number): { texts: string[]; messages: NewMessage[] } {
  const words = [' stream', 'ing', '', ' ', '👩‍👩‍👧‍👦', 'é', '波', ' 🛰️', '\n', ' to', 'ken'];
  const texts = Array.from({ length: count }, (_, n) => words[(n * 7) % words.length] ?? '');
  const messageId = randomUUID();
  const messages = texts.map((text, n) => messageOf(channel, { messageId, sequence: BigInt(n), payload: { text } }));
  return { texts, messages };
}

/** Everything after `after`, read in parts. */
export async function readAll(broker: Broker, channel: ChannelKey, after: EntryId = BEFORE_ALL): Promise<Entry[]> {
  const all: Entry[] = [];
  for (;;) {
    const { entries } = await broker.read(channel, all.at(-1)?.id ?? after, READ_LIMIT);
    all.push(...entries);
    if (entries.length < READ_LIMIT) return all;
  }
}

/** What each entry says: its text, or how long its data is. */
export function said(entries: readonly Entry[]): (string | number)[] {
  return entries.map(({ data }) => textDeltaOf(data)?.text ?? data.length);
}

export function idOf(result: PublishResult): EntryId {
  if (result.kind !== 'stored') throw new Error(result.kind);
  return result.id;
}

/** Guarantee 6 of broker.ts, on limits as they are; broker-model.ts has it with small ones. */
export function describeCoalescing(open: (retention: Retention) => Promise<BrokerHarness>): void {
  describe('a channel that coalesces', () => {
    let harness: BrokerHarness;
    let broker: Broker;
    const store = async (channel: ChannelKey, message: NewMessage) =>
      idOf(await broker.publish(channel, message, UNLIMITED));

    beforeAll(async () => {
      harness = await open(RETENTION);
      broker = harness.broker;
    });
    afterAll(() => harness.close());

    test('10,000 tokens are read as their content, byte for byte, though few of them are retained', async () => {
      const channel = newChannel();
      const start = startOf(channel, 40);
      await store(channel, start);
      const { texts, messages } = tokensOf(channel, 10_000);
      const stored: EntryId[] = [];
      for (let at = 0; at < messages.length; at += 1000) {
        stored.push(...(await broker.publishMany(channel, messages.slice(at, at + 1000), UNLIMITED)).map(idOf));
        await harness.wait(2);
      }
      const end = messageOf(channel, { phase: Phase.END });
      await store(channel, end);
      const entries = await readAll(broker, channel);
      const content = texts.join('');
      const pieces = Math.ceil(Buffer.byteLength(content) / (MAX_PIECE_BYTES - 25));
      expect(entries).toHaveLength(1 + pieces + 1);
      const joined = said(entries.slice(1, -1)).join('');
      expect(Buffer.from(joined).equals(Buffer.from(content))).toBe(true);
      expect(Buffer.compare(entries[0]?.data ?? new Uint8Array(), start.data)).toBe(0);
      expect(entries.at(-1)).toMatchObject({ seals: true, prev: stored.at(-1) });
      for (const [n, entry] of entries.entries()) expect(entry.prev).toBe(entries[n - 1]?.id ?? BEFORE_ALL);
      for (const { coalesceMs } of entries.slice(1, -1)) expect(coalesceMs).toBe(40);
      // From among the last of them on, one by one.
      const late = await broker.read(channel, stored[9_989]!, 100);
      expect(said(late.entries.slice(0, 10))).toEqual(texts.slice(9_990));
      // From among those that are gone, from the next piece on.
      const [next] = (await broker.read(channel, stored[10]!, 1)).entries;
      expect(next?.prev).toBe(entries[1]?.id);
    });

    test('pieces hold no more than they may, and begin with a message', async () => {
      const channel = newChannel();
      await store(channel, startOf(channel, 40));
      const sizes = [5000, 5000, 5000, 5000, 11_384, 1, 15_000, 1383, 1];
      for (const size of sizes) await store(channel, textOf(channel, 'x'.repeat(size)));
      const lengths = said((await readAll(broker, channel)).slice(1)).map((text) => String(text).length);
      expect(lengths).toEqual([15_000, 16_384, 16_384, 1]);
    });

    test('only text deltas of one name are joined, and what a joined one says is of the last', async () => {
      const channel = newChannel();
      const error = messageOf(channel, { phase: Phase.ERROR, payload: { text: 'no delta' } });
      const two = messageOf(channel, { payload: { text: 'a', more: 'b' } });
      const number = messageOf(channel, { payload: { text: 1 } });
      const bare = messageOf(channel);
      const last = messageOf(channel, { sequence: 2n ** 64n - 1n, payload: { text: 'd' } });
      const sent = [
        startOf(channel, 1),
        ...[textOf(channel, 'a'), textOf(channel, ''), textOf(channel, 'b')],
        ...[textOf(channel, 'c', 'reason'), textOf(channel, 'c', '__proto__'), textOf(channel, 'c', ' 1 2\n')],
        ...[textOf(channel, 'c', ''), textOf(channel, 'c', ''), error, textOf(channel, 'd'), two, number, bare],
        ...[textOf(channel, 'd'), last],
      ];
      for (const message of sent) await store(channel, message);
      const entries = await readAll(broker, channel);
      const texts = entries.map(({ data }) => textDeltaOf(data)).map((text) => text && [text.name, text.text]);
      expect(texts).toEqual([
        ...[undefined, ['text', 'ab'], ['reason', 'c'], ['__proto__', 'c'], [' 1 2\n', 'c'], ['', 'cc'], undefined],
        ...[['text', 'd'], undefined, undefined, undefined, ['text', 'dd']],
      ]);
      for (const message of [error, two, number, bare]) {
        expect(entries.filter(({ data }) => Buffer.compare(data, message.data) === 0)).toHaveLength(1);
      }
      const joined = encodeMessage(channel, { ...last, payload: { text: 'dd' } });
      expect(Buffer.compare(entries.at(-1)?.data ?? new Uint8Array(), joined)).toBe(0);
      expect(entries.map(({ coalesceMs }) => coalesceMs)).toEqual(texts.map((text) => (text ? 1 : undefined)));
    });

    test('it begins with a START, which another may change; entries before it stay what they are', async () => {
      const channel = newChannel();
      const received: Entry[] = [];
      const stop = await broker.listen(channel, (entry) => received.push(entry));
      const text = async () => store(channel, textOf(channel, 'x'));
      await text();
      await store(channel, startOf(channel));
      await text();
      const before = await text();
      await store(channel, startOf(channel, 40));
      for (let n = 0; n < 3; n += 1) await text();
      await store(channel, startOf(channel, 80));
      for (let n = 0; n < 3; n += 1) await text();
      await store(channel, startOf(channel));
      await text();
      const entries = await readAll(broker, channel);
      const windows = entries.map(({ coalesceMs }) => coalesceMs);
      expect(windows).toEqual([
        undefined,
        undefined,
        undefined,
        undefined,
        undefined,
        40,
        undefined,
        80,
        undefined,
        80,
      ]);
      expect(entries[4]?.prev).toBe(before);
      expect(said(entries).filter((what) => typeof what === 'string')).toEqual(['x', 'x', 'x', 'xxx', 'xxx', 'x']);
      await until('all is delivered', () => received.length === 14);
      expect(said(received.filter(({ coalesceMs }) => coalesceMs !== undefined))).toEqual(new Array(7).fill('x'));
      stop();
    });

    test('what is refused or there already leaves the snapshot as it is', async () => {
      const channel = newChannel();
      const once: PublishRate = { name: 'unary', perSec: 3 };
      const [start, text, end] = [startOf(channel, 40), textOf(channel, 'a'), messageOf(channel, { phase: Phase.END })];
      const kinds: string[] = [];
      for (const message of [
        start,
        start,
        text,
        text,
        textOf(channel, 'b'),
        text,
        textOf(channel, 'c'),
        startOf(channel, 90),
      ])
        kinds.push((await broker.publish(channel, message, once)).kind);
      expect(kinds.filter((kind) => kind === 'rate_limited')).toHaveLength(2);
      await store(channel, end);
      const after = [end, textOf(channel, 'd'), startOf(channel, 90), text];
      for (const message of after) kinds.push((await broker.publish(channel, message, UNLIMITED)).kind);
      expect(kinds.slice(-4)).toEqual(['duplicate', 'sealed', 'sealed', 'duplicate']);
      const entries = await readAll(broker, channel);
      expect(entries.map(({ coalesceMs }) => coalesceMs)).toEqual([undefined, 40, undefined]);
      expect(said(entries)[1]).toBe('ab');
    });

    test('a snapshot that is too large is given up, and the next START begins another', async () => {
      const small = await open({ ...RETENTION, maxEntries: 2, maxBytes: 20_000 });
      const channel = newChannel();
      const publish = async (message: NewMessage) => idOf(await small.broker.publish(channel, message, UNLIMITED));
      await publish(startOf(channel, 40));
      for (let n = 0; n < 12; n += 1) await publish(textOf(channel, String(n % 10).repeat(1500)));
      const whole = await readAll(small.broker, channel);
      expect(whole).toHaveLength(3);
      await publish(textOf(channel, 'x'.repeat(1500)));
      await publish(textOf(channel, 'x'.repeat(1500)));
      const single = (await readAll(small.broker, channel)).filter(({ coalesceMs }) => coalesceMs === 40);
      expect(single.length).toBeGreaterThan(1);
      for (const text of said(single)) expect(String(text)).toHaveLength(1500);
      const again = await publish(startOf(channel, 50));
      for (let n = 0; n < 5; n += 1) {
        await small.wait(2);
        await publish(textOf(channel, 'y'));
      }
      const entries = await readAll(small.broker, channel);
      expect(entries.at(-2)?.id).toBe(again);
      expect(said(entries).at(-1)).toBe('yyyyy');
      await small.close();
    });

    test('producer_lost ends it as anything else, and with the log all of it goes', async () => {
      const channel = newChannel();
      await store(channel, startOf(channel, 40));
      await store(channel, textOf(channel, 'a'));
      const last = await store(channel, textOf(channel, 'b'));
      await harness.wait(2);
      expect((await broker.endIdle(1, 10_000)).ended).toContain(channel);
      const entries = await readAll(broker, channel);
      expect(entries.map(({ kind }) => kind)).toEqual(['message', 'message', 'producer_lost']);
      expect(entries[2]).toMatchObject({ seals: true, prev: last, coalesceMs: undefined });
      await harness.elapse(RETENTION.sealedTtlMs + 24 * 60 * 60 * 1000 + 1000, [channel]);
      expect(await readAll(broker, channel)).toEqual([]);
      await store(channel, textOf(channel, 'c'));
      await store(channel, textOf(channel, 'd'));
      const ordinary = await readAll(broker, channel);
      expect(ordinary.map(({ coalesceMs }) => coalesceMs)).toEqual([undefined, undefined]);
    });
  });
}
