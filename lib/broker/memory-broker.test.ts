import * as fc from 'fast-check';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { until } from '../../test/support/until.ts';
import { BrokerUnavailableError, type PublishRate, type Retention } from './broker.ts';
import { describeBrokerContract } from './broker-contract.ts';
import { type BrokerHarness, newChannel, newMessage } from './broker-harness.ts';
import { startOf, textOf } from './coalescing-contract.ts';
import { BEFORE_ALL, compareEntryIds, entryIdMs } from './entry-id.ts';
import { createMemoryBroker } from './memory-broker.ts';

const UNLIMITED: PublishRate = { name: 'unary', perSec: 0 };
/** What memory-log.ts counts for an entry beside its data. */
const ENTRY_BYTES = 288;

function ifFull(error: unknown): void {
  if (!(error instanceof BrokerUnavailableError)) throw error;
}

async function openHarness(retention: Retention): Promise<BrokerHarness> {
  let nowMs = Date.now();
  const broker = createMemoryBroker({ retention, now: () => nowMs });
  const advance = async (ms: number) => {
    nowMs += ms;
  };
  const clock = () => nowMs;
  return { broker, nowMs: clock, ttlNowMs: clock, elapse: advance, wait: advance, close: () => broker.close() };
}

describeBrokerContract('memory', { open: openHarness, runs: 200 });

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

  test.each([
    ['back', -3_600_000],
    ['ahead', 3_600_000],
  ])("goes on as it is when the system's clock is set %s by an hour", async (_, byMs) => {
    vi.useFakeTimers({ toFake: ['Date'] });
    onTestFinished(() => void vi.useRealTimers());
    const broker = createMemoryBroker();
    const channel = newChannel();
    const rate: PublishRate = { name: 'unary', perSec: 2 };
    const publish = () => broker.publish(channel, newMessage(), rate);
    await Promise.all([publish(), publish()]);
    vi.setSystemTime(Date.now() + byMs);
    await until('the second is over', async () => (await publish()).kind === 'stored');
    const ids = (await broker.read(channel, BEFORE_ALL, 10)).entries.map(({ id }) => entryIdMs(id));
    expect(ids).toHaveLength(3);
    expect(ids[2]! - ids[0]!).toBeGreaterThanOrEqual(1000);
    expect((await broker.endIdle(60_000, 10)).ended).toEqual([]);
    await until('it is idle', async () => (await broker.endIdle(1, 10)).ended.length === 1);
    await broker.close();
  });

  test('what has expired is not ended, wherever it stands among what has not', async () => {
    let nowMs = 0;
    const broker = createMemoryBroker({ now: () => nowMs });
    await broker.governIdle(1000, 1000);
    const [first, second] = [newChannel(), newChannel()];
    await broker.publish(first, newMessage(), UNLIMITED);
    nowMs = 100;
    await broker.publish(second, newMessage(), UNLIMITED);
    nowMs = 900;
    await broker.publish(first, newMessage(), UNLIMITED);
    nowMs = 3500;
    expect((await broker.endIdle(1000, 10)).ended).toEqual([first]);
    expect(await broker.tails([second])).toEqual([{ last: BEFORE_ALL, sealedBy: undefined }]);
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

  test('has exactly the room that it began with when all is gone, whatever there was', async () => {
    const steps = fc.array(
      fc.record({
        channel: fc.nat(3),
        what: fc.constantFrom('start', 'text', 'text', 'text', 'other', 'other', 'end', 'idle', 'wait', 'kept'),
        size: fc.oneof(fc.nat(40), fc.nat(9_000)),
      }),
      { maxLength: 80, size: 'max' },
    );
    const maxTotalBytes = 60_000;
    await fc.assert(
      fc.asyncProperty(steps, async (made) => {
        let nowMs = 1;
        const retention = { maxEntries: 3, minAgeMs: 5, maxBytes: 20_000 };
        const broker = createMemoryBroker({ now: () => nowMs, maxTotalBytes, retention });
        const channels = Array.from({ length: 4 }, newChannel);
        for (const { channel: n, what, size } of made) {
          nowMs += 3;
          const channel = channels[n]!;
          const data = new Uint8Array(size);
          const messages = {
            start: () => startOf(channel, 40),
            text: () => textOf(channel, 'x'.repeat(size)),
            other: () => newMessage({ data }),
            kept: () => newMessage({ data }),
            end: () => newMessage({ phase: Phase.END, data }),
          };
          if (what === 'wait') nowMs += size * 60;
          else if (what === 'idle') await broker.endIdle(size, 2);
          else await broker.publish(channel, messages[what](), UNLIMITED, n === 0 ? 'kept' : 'ended').catch(ifFull);
        }
        nowMs += 48 * 60 * 60 * 1000;
        const fill = (more: number) =>
          broker.publish(
            newChannel(),
            newMessage({ data: new Uint8Array(maxTotalBytes - ENTRY_BYTES + more) }),
            UNLIMITED,
          );
        await expect(fill(1)).rejects.toThrow('full');
        expect((await fill(0)).kind).toBe('stored');
        await broker.close();
      }),
    );
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
