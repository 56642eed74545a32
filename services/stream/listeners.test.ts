import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { channelKey } from '#lib/broker/broker.ts';
import { createMemoryBroker } from '#lib/broker/memory-broker.ts';
import { Connection, MAX_WAITING_BYTES } from './connection.ts';
import type { Wire } from './delivery.ts';
import { KEEP_ALIVE_SEC, Listeners } from './listeners.ts';
import { followAsService, Words } from './listeners-testing.ts';

const CHANNEL = channelKey(1n, '97f58c19-ce38-4c6b-8a5b-47f3405691f0');

/** A wire that says in words what it would send, so that a test reads as the listener would. */
const words: Wire<string> = {
  slot: 0,
  opening: 'open',
  heartbeat: 'beat',
  entry: ({ data }) => new TextDecoder().decode(data),
  control: ({ type }) => type,
  goodbye: () => 'goodbye',
  join: (chunks) => chunks.join('+'),
};

let broker: ReturnType<typeof createMemoryBroker>;
let listeners: Listeners;

function start(options: { maxConnectionMs?: number; maxListeners?: number } = {}) {
  broker = createMemoryBroker();
  listeners = new Listeners({ follower: followAsService(broker), maxConnectionMs: 0, maxListeners: 10, ...options });
}

async function join(sink = new Words(), wantsDrainNotice = () => false) {
  await listeners.join({ channel: CHANNEL, cursor: undefined, wire: words, sink, wantsDrainNotice });
  return sink;
}

async function publish(text: string, phase: Phase = Phase.DELTA) {
  const message = { messageId: crypto.randomUUID(), phase, sequence: 0n, data: new TextEncoder().encode(text) };
  await broker.publish(CHANNEL, message, { name: 'unary', perSec: 0 });
  // What is due is delivered after the turn of the event loop.
  await vi.advanceTimersByTimeAsync(1);
}

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(async () => {
  listeners.close();
  await broker.close();
  vi.useRealTimers();
});

test('a listener is answered at once, hears the stream, and a sign of life every 15 s', async () => {
  start();
  const sink = await join();
  expect(sink.heard).toEqual(['open']);
  await publish('hello');
  await vi.advanceTimersByTimeAsync(2 * KEEP_ALIVE_SEC * 1000);
  expect(sink.heard).toEqual(['open', 'hello', 'beat', 'beat']);
  await publish('bye', Phase.END);
  expect(sink).toMatchObject({ over: 'ended', heard: ['open', 'hello', 'beat', 'beat', 'bye'] });
  expect(listeners.count).toBe(0);
});

test('a wire without an opening gets its first sign of life within a second', async () => {
  start();
  const sink = new Words();
  const wire = { ...words, opening: undefined };
  await listeners.join({ channel: CHANNEL, cursor: undefined, wire, sink, wantsDrainNotice: () => false });
  expect(sink.heard).toEqual([]);
  await vi.advanceTimersByTimeAsync(1000);
  expect(sink.heard).toEqual(['beat']);
});

test('who takes nothing is cut at the byte limit, or after 30 s, and the others hear everything', async () => {
  start();
  const [slow, idle, good] = [await join(), await join(), await join()];
  slow.stalled = true;
  const large = 'x'.repeat(MAX_WAITING_BYTES / 2);
  for (const text of [large, large, '!']) await publish(text);
  expect(slow.over).toBe('too_slow');
  expect(slow.heard).toHaveLength(4);
  idle.stalled = true;
  await publish('?');
  await vi.advanceTimersByTimeAsync(3 * KEEP_ALIVE_SEC * 1000);
  expect(idle.over).toBe('too_slow');
  expect(good.over).toBeUndefined();
  expect(good.heard.filter((text) => text !== 'beat')).toEqual(['open', large, large, '!', '?']);
  expect(listeners.count).toBe(1);
});

test('who is slow and takes something all the time is not cut', async () => {
  start();
  const sink = await join();
  sink.stalled = true;
  await publish('x'.repeat(100_000));
  for (let beat = 0; beat < 6; beat++) {
    sink.waitingBytes -= 10_000;
    await vi.advanceTimersByTimeAsync(KEEP_ALIVE_SEC * 1000);
  }
  expect(sink.over).toBeUndefined();
  await vi.advanceTimersByTimeAsync(3 * KEEP_ALIVE_SEC * 1000);
  expect(sink.over).toBe('too_slow');
});

test('a drain sends everybody away within its time, with a notice to those who want one', async () => {
  start();
  const plain = await Promise.all(Array.from({ length: 5 }, () => join()));
  const asking = await join(new Words(), () => true);
  const drained = listeners.drain(1000);
  await expect(join()).rejects.toMatchObject({ reason: 'draining' });
  await vi.advanceTimersByTimeAsync(1000);
  await drained;
  for (const sink of plain) expect(sink).toMatchObject({ over: 'ended', heard: ['open', 'goodbye'] });
  expect(asking).toMatchObject({ over: 'ended', heard: ['open', 'server_draining', 'goodbye'] });
  expect(listeners.count).toBe(0);
});

test('a drain is spread over its time and no longer, however long each goodbye takes', async () => {
  start({ maxListeners: 100 });
  const startMs = performance.now();
  const endsMs: number[] = [];
  /** It takes of the process's time to say goodbye. */
  class Laborious extends Words {
    override end(): void {
      vi.advanceTimersByTime(10);
      super.end();
      endsMs.push(performance.now() - startMs);
    }
  }
  await Promise.all(Array.from({ length: 50 }, () => join(new Laborious())));
  const drained = listeners.drain(1000);
  await vi.advanceTimersByTimeAsync(2000);
  await drained;
  expect(endsMs).toHaveLength(50);
  expect(endsMs.at(-1)).toBeLessThanOrEqual(1010);
  const inTheFirstHalf = endsMs.filter((ms) => ms <= 500).length;
  expect([inTheFirstHalf > 20, inTheFirstHalf < 35]).toEqual([true, true]);
});

test('connections end at their age, less up to a fifth', async () => {
  start({ maxConnectionMs: 100_000 });
  const sinks = await Promise.all(Array.from({ length: 10 }, () => join()));
  await vi.advanceTimersByTimeAsync(79_000);
  expect(sinks.filter(({ over }) => over !== undefined)).toEqual([]);
  await vi.advanceTimersByTimeAsync(21_000);
  for (const sink of sinks) expect(sink).toMatchObject({ over: 'ended', heard: expect.arrayContaining(['goodbye']) });
});

/** The broker takes its time to say where the channel stands. */
class Late extends Connection<string> {
  async begin(): Promise<'following'> {
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    return 'following';
  }
  protected leave(): void {}
  protected drainNotice(): string {
    return 'server_draining';
  }
}

test('a connection that took longer to begin than it is to last ends, too', async () => {
  start({ maxConnectionMs: 2_000 });
  const sink = new Words();
  const joined = listeners.admit({ sink, wantsDrainNotice: () => false }, (options) => new Late(options, words));
  await vi.advanceTimersByTimeAsync(10_000);
  expect(await joined).toBe('following');
  expect(sink).toMatchObject({ over: 'ended', heard: ['open', 'goodbye'] });
});

test('more than the limit are refused, and one who has gone makes room', async () => {
  start({ maxListeners: 1 });
  const first = await join();
  await expect(join()).rejects.toMatchObject({ reason: 'too_many_listeners' });
  first.onGone();
  await join();
});

test('who went before it was let in leaves nothing behind', async () => {
  start();
  const gone = new Words();
  gone.isGone = true;
  await join(gone);
  expect(gone.heard).toEqual([]);
  expect(listeners.count).toBe(0);
});
