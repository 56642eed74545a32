import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { type Broker, channelKey, type Entry } from './broker.ts';
import { Pieces, WINDOW_MS } from './coalescing-testing.ts';
import { Follower } from './follow.ts';
import { Notes } from './follow-testing.ts';

// Readers that go in the middle of what is delivered, or fail at it.

const CHANNEL = channelKey(1n, '97f58c19-ce38-4c6b-8a5b-47f3405691f0');

let pieces: Pieces;
let follower: Follower<Entry>;
let errors: unknown[];

class Joined extends Notes {
  leave = () => {};
  onDeliver: () => void = () => {};
  override deliver(entry: Entry): void {
    super.deliver(entry);
    this.onDeliver();
  }
}

async function join(): Promise<Joined> {
  const reader = new Joined();
  const following = await follower.follow(CHANNEL, undefined, reader);
  if (following.kind === 'following') reader.leave = following.leave;
  await vi.advanceTimersByTimeAsync(1);
  return reader;
}

async function publish(text: string, phase: Phase = Phase.DELTA): Promise<void> {
  const message = { messageId: crypto.randomUUID(), phase, sequence: 0n, data: new TextEncoder().encode(text) };
  await pieces.memory.publish(CHANNEL, message, { name: 'unary', perSec: 0 });
}

beforeEach(() => {
  vi.useFakeTimers();
  pieces = new Pieces();
  errors = [];
  const broker: Broker = pieces.broker;
  follower = new Follower<Entry>({ broker, share: (entry) => entry, onError: (error) => errors.push(error) });
});
afterEach(async () => {
  follower.close();
  await pieces.memory.close();
  vi.useRealTimers();
});

test('who came while text waits stays when those before it go at its delivery', async () => {
  const first = await join();
  await publish('a');
  await vi.advanceTimersByTimeAsync(1);
  await publish('b');
  const second = await join();
  await publish('c');
  const third = await join();
  await publish('d');
  // As slow ones do that are cut.
  for (const reader of [first, second]) reader.onDeliver = () => reader.leave();
  await vi.advanceTimersByTimeAsync(WINDOW_MS);
  expect([first.texts, second.texts, third.texts.join('')]).toEqual([['a', 'b'], ['ab', 'c'], 'abcd']);
  await publish('!');
  await vi.advanceTimersByTimeAsync(1);
  expect([follower.channels, third.texts.join('')]).toEqual([1, 'abcd!']);
});

test('who fails at a message is finished; nobody else misses it', async () => {
  const readers = [await join(), await join()];
  await publish('a');
  await vi.advanceTimersByTimeAsync(1);
  await publish('b');
  readers.push(await join(), await join());
  await publish('c');
  for (const n of [0, 2]) {
    const reader = readers[n] as Joined;
    reader.onDeliver = () => {
      throw new Error('a bug');
    };
  }
  await vi.advanceTimersByTimeAsync(WINDOW_MS);
  await publish('!', Phase.END);
  expect(readers.map(({ finished }) => finished)).toEqual(['unavailable', 'ended', 'unavailable', 'ended']);
  for (const n of [1, 3]) expect(readers[n]?.texts.join('')).toBe('abc!');
  expect(errors).toHaveLength(2);
  expect(follower.channels).toBe(0);
});
