import { describe, expect, test } from 'vitest';
import { BrokerUnavailableError, type PublishRate, type Retention } from './broker.ts';
import { describeBrokerContract } from './broker-contract.ts';
import { type BrokerHarness, newChannel, newMessage } from './broker-harness.ts';
import { startOf, textOf } from './coalescing-contract.ts';
import { BEFORE_ALL, compareEntryIds } from './entry-id.ts';
import { createMemoryBroker } from './memory-broker.ts';

const UNLIMITED: PublishRate = { name: 'unary', perSec: 0 };

async function openHarness(retention: Retention): Promise<BrokerHarness> {
  let nowMs = Date.now();
  const broker = createMemoryBroker({ retention, now: () => nowMs });
  const advance = async (ms: number) => {
    nowMs += ms;
  };
  const clock = () => nowMs;
  return { broker, nowMs: clock, ttlNowMs: clock, elapse: advance, wait: advance, close: () => broker.close() };
}

describeBrokerContract('memory', { open: openHarness, runs: 300 });

describe('memory broker', () => {
  test('delivers before the publish is answered', async () => {
    const broker = createMemoryBroker();
    const channel = newChannel();
    let delivered = 0;
    await broker.listen(channel, () => {
      delivered += 1;
    });
    const publishing = broker.publish(channel, newMessage(), UNLIMITED);
    expect(delivered).toBe(1);
    await publishing;
    await broker.close();
  });

  test('keeps its own copy of the bytes', async () => {
    const broker = createMemoryBroker();
    const channel = newChannel();
    const buffer = Buffer.alloc(64 * 1024, 7);
    await broker.publish(channel, newMessage({ data: buffer.subarray(10, 20) }), UNLIMITED);
    buffer.fill(0);
    const [entry] = (await broker.read(channel, BEFORE_ALL, 1)).entries;
    expect([...(entry?.data ?? [])]).toEqual(new Array(10).fill(7));
    expect(entry?.data.buffer.byteLength).toBe(10);
    await broker.close();
  });

  test('ids rise when the clock goes back', async () => {
    let nowMs = 5000;
    const broker = createMemoryBroker({ now: () => nowMs });
    const channel = newChannel();
    for (const ms of [5000, 4000, 4000, 5001]) {
      nowMs = ms;
      await broker.publish(channel, newMessage(), UNLIMITED);
    }
    const ids = (await broker.read(channel, BEFORE_ALL, 10)).entries.map(({ id }) => id);
    expect(ids).toEqual(['5000-0', '5000-1', '5000-2', '5001-0']);
    expect([...ids].sort(compareEntryIds)).toEqual(ids);
    await broker.close();
  });

  test('refuses what it has no room for, and has room again when logs expire', async () => {
    let nowMs = 0;
    const broker = createMemoryBroker({ now: () => nowMs, maxTotalBytes: 100_000 });
    const first = newChannel();
    const message = newMessage({ data: new Uint8Array(16_000) });
    await broker.publish(first, message, UNLIMITED);
    const fill = async () => {
      for (let n = 0; n < 100; n += 1)
        await broker.publish(newChannel(), newMessage({ data: message.data }), UNLIMITED);
    };
    await expect(fill()).rejects.toThrow(BrokerUnavailableError);
    await expect(broker.publish(newChannel(), message, UNLIMITED)).rejects.toThrow('full');
    expect((await broker.publish(first, message, UNLIMITED)).kind).toBe('duplicate');
    expect((await broker.read(first, BEFORE_ALL, 10)).entries).toHaveLength(1);
    nowMs += 24 * 60 * 60 * 1000;
    expect((await broker.publish(newChannel(), message, UNLIMITED)).kind).toBe('stored');
    await broker.close();
  });

  test('has room again for what retention takes, whatever its size', async () => {
    let nowMs = 0;
    const retention = { maxEntries: 5, minAgeMs: 0 };
    const broker = createMemoryBroker({ now: () => nowMs, maxTotalBytes: 200_000, retention });
    const channel = newChannel();
    for (let n = 0; n < 5000; n += 1) {
      nowMs += 1;
      const data = new Uint8Array((n * 7919) % 16_384);
      expect((await broker.publish(channel, newMessage({ data }), UNLIMITED)).kind).toBe('stored');
    }
    expect((await broker.read(channel, BEFORE_ALL, 10)).entries).toHaveLength(6);
    await broker.close();
  });

  test('a snapshot keeps nothing of a log but what it has of it', async () => {
    const broker = createMemoryBroker();
    const channel = newChannel();
    await broker.publish(channel, newMessage({ data: new Uint8Array(4000) }), UNLIMITED);
    const start = startOf(channel, 40);
    await broker.publish(channel, start, UNLIMITED);
    const piece = (await broker.read(channel, BEFORE_ALL, 10)).entries.at(-1);
    expect(piece?.data).toEqual(new Uint8Array(start.data));
    expect(piece?.data.buffer.byteLength).toBe(start.data.length);
    await broker.close();
  });

  test('snapshots count as what is retained does, and go with their logs', async () => {
    let nowMs = 0;
    const retention = { maxEntries: 1, minAgeMs: 0 };
    const broker = createMemoryBroker({ now: () => nowMs, maxTotalBytes: 100_000, retention });
    const fill = async (channel = newChannel()) => {
      await broker.publish(channel, startOf(channel, 40), UNLIMITED);
      for (let n = 0; n < 200; n += 1) {
        nowMs += 1;
        await broker.publish(channel, textOf(channel, 'x'.repeat(1000)), UNLIMITED);
      }
    };
    await expect(fill()).rejects.toThrow('full');
    nowMs += 24 * 60 * 60 * 1000;
    await expect(
      broker.publish(newChannel(), newMessage({ data: new Uint8Array(90_000) }), UNLIMITED),
    ).resolves.toEqual({
      kind: 'stored',
      id: `${nowMs}-0`,
    });
    await broker.close();
  });
});
