import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { type Broker, BrokerUnavailableError, channelKey } from '#lib/broker/broker.ts';
import type { EntryId } from '#lib/broker/entry-id.ts';
import type { Follower } from '#lib/broker/follow.ts';
import { createMemoryBroker } from '#lib/broker/memory-broker.ts';
import { type CompositeCursor, parseCompositeCursor } from './composite-cursor.ts';
import { MAX_WAITING_BYTES, MAX_WITHOUT_DRAIN_MS } from './connection.ts';
import type { Delivery } from './delivery.ts';
import { KEEP_ALIVE_SEC, Listeners } from './listeners.ts';
import { followAsService, Words } from './listeners-testing.ts';
import { ManyListener } from './many-listener.ts';
import type { ManyWire } from './many-wire.ts';

const IDS = Array.from({ length: 20 }, (_, n) => `97f58c19-ce38-4c6b-8a5b-47f3405691${10 + n}`);
const keyOf = (n: number) => channelKey(1n, IDS[n] ?? '');

/** In words; a write ends with its cursor in brackets, which a test reads as the messages it stands at. */
const words: ManyWire<string> = {
  slot: 0,
  opening: 'open',
  heartbeat: 'beat',
  goodbye: () => 'goodbye',
  entry: ({ entry, data }) => (entry.kind === 'message' ? new TextDecoder().decode(data) : ''),
  channelControl: ({ type }, id) => `${IDS.indexOf(id)}:${type}`,
  control: ({ type }) => type,
  join: (chunks) => chunks.join('+'),
  sizeOf: ({ length }) => length,
  withCursor: (chunk, cursor) => [`${chunk}${inBrackets(cursor)}`],
  together: (chunks, cursor) =>
    [...chunks.filter((chunk) => chunk !== ''), ...(cursor === undefined ? [] : [inBrackets(cursor)])].join(' '),
};

let broker: ReturnType<typeof createMemoryBroker>;
let listeners: Listeners;
let follower: Follower<Delivery>;
let texts: Map<string, string>;
let listened: number;

function inBrackets(cursor: CompositeCursor): string {
  return `[${placesOf(cursor).join(' ')}]`;
}

function placesOf(cursor: CompositeCursor): string[] {
  const keys = Array.from({ length: listened }, (_, n) => keyOf(n));
  return (parseCompositeCursor(cursor.toString(), keys) ?? []).map((id) => id ?? '-');
}

/** What it heard, with messages in place of their ids. */
function said({ heard }: Words): string[] {
  return heard.map((write) => write.replaceAll(/\d{13}-\d+/g, (id) => texts.get(id) ?? id));
}

function start(options: { broker?: (memory: Broker) => Broker; maxListeners?: number; retain?: number } = {}) {
  const { retain } = options;
  let nowMs = 1_700_000_000_000;
  broker = createMemoryBroker({
    now: () => nowMs++,
    ...(retain === undefined ? {} : { retention: { maxEntries: retain, minAgeMs: 0 } }),
  });
  texts = new Map();
  follower = followAsService(options.broker?.(broker) ?? broker);
  listeners = new Listeners({ follower, maxConnectionMs: 0, maxListeners: 10, ...options });
}

async function join(
  count: number,
  { sink = new Words(), cursors = [] as (EntryId | undefined)[], wantsDrainNotice = false } = {},
) {
  listened = count;
  const channels = IDS.slice(0, count).map((id, n) => ({ id, key: keyOf(n) }));
  const way = { wire: words, sink, wantsDrainNotice: () => wantsDrainNotice };
  const all = channels.map((_, n) => cursors[n]);
  const joined = await listeners.admit(
    way,
    (given) => new ManyListener({ ...given, wire: words, channels, cursors: all }),
  );
  await vi.advanceTimersByTimeAsync(1);
  return { sink, joined };
}

/** Stores it, and nothing more. */
async function store(n: number, text: string, phase: Phase = Phase.DELTA): Promise<EntryId> {
  const message = { messageId: crypto.randomUUID(), phase, sequence: 0n, data: new TextEncoder().encode(text) };
  const result = await broker.publish(keyOf(n), message, { name: 'unary', perSec: 0 });
  if (result.kind !== 'stored') throw new Error(result.kind);
  texts.set(result.id, text);
  return result.id;
}

/** Stores it, and lets it be delivered. */
async function publish(n: number, text: string, phase?: Phase): Promise<EntryId> {
  const id = await store(n, text, phase);
  await vi.advanceTimersByTimeAsync(1);
  return id;
}

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(async () => {
  listeners.close();
  await broker.close();
  vi.useRealTimers();
});

describe('what all channels have due in a turn is one write, and the cursor its end', () => {
  test('live', async () => {
    start();
    const { sink } = await join(3);
    expect(said(sink)).toEqual(['open']);
    await Promise.all([store(0, 'a1'), store(2, 'c1'), store(0, 'a2')]);
    await vi.advanceTimersByTimeAsync(1);
    await publish(1, 'b1');
    expect(said(sink)).toEqual(['open', 'a1+a2 c1 [a2 - c1]', 'b1 [a2 b1 c1]']);
  });

  test('and what is retained, resumed where each of them was', async () => {
    start();
    const ids = [];
    for (const text of ['a1', 'a2', 'a3']) ids.push(await store(0, text));
    await store(1, 'b1');
    const { sink } = await join(2);
    expect(said(sink)).toEqual(['open', 'a1+a2+a3 b1 [a3 b1]']);
    const back = await join(2, { cursors: [ids[1], undefined] });
    expect(said(back.sink)).toEqual(['open', 'a3 b1 [a3 b1]']);
  });

  test('but a write is never much larger than 64 KiB', async () => {
    start();
    const large = 'x'.repeat(16 * 1024);
    for (let n = 0; n < 20; n++) for (let i = 0; i < 8; i++) await store(n, large);
    const { sink } = await join(20);
    expect(Math.max(...sink.heard.map(({ length }) => length))).toBeLessThan(132 * 1024);
    expect(sink.heard.join('').split('x').length - 1).toBe(20 * 8 * large.length);
  });
});

describe('the end', () => {
  test('of a channel leaves the others as they are, and of the last one ends it', async () => {
    start();
    const { sink } = await join(2);
    await publish(0, 'a', Phase.END);
    await publish(1, 'b');
    expect(sink.over).toBeUndefined();
    await publish(1, 'c', Phase.END);
    expect({ over: sink.over, heard: said(sink) }).toEqual({
      over: 'ended',
      heard: ['open', 'a [a -]', 'b [a b]', 'c [a c]'],
    });
    expect(listeners.count).toBe(0);
  });

  test('of all of them before it came is delivered whole', async () => {
    start();
    for (const n of [0, 1, 2]) await store(n, `${n}`, Phase.END);
    const { sink } = await join(3);
    expect({ over: sink.over, heard: said(sink) }).toEqual({ over: 'ended', heard: ['open', '0 1 2 [0 1 2]'] });
  });

  test('of all of them in its cursor is nothing to listen to', async () => {
    start();
    const cursors = [await store(0, 'a', Phase.END), await store(1, 'b', Phase.END)];
    const { sink, joined } = await join(2, { cursors });
    expect([joined, sink.heard, sink.over]).toEqual(['at_end', [], undefined]);
    const some = await join(2, { cursors: [cursors[0], undefined] });
    expect([some.joined, said(some.sink), some.sink.over]).toEqual(['following', ['open', 'b [a b]'], 'ended']);
    expect(listeners.count).toBe(0);
  });

  test('by a lost producer is said of its channel', async () => {
    start();
    await store(0, 'a');
    const { sink } = await join(2);
    await broker.endIdle(0, 10);
    await vi.advanceTimersByTimeAsync(1);
    const { tail } = await broker.read(keyOf(0), '0-0' as EntryId, 10);
    expect(said(sink)).toEqual(['open', 'a [a -]', `0:producer_lost [${tail.last} -]`]);
    expect(sink.over).toBeUndefined();
  });
});

test('controls are said of their channel, and move its cursor alone', async () => {
  start({ retain: 1 });
  for (const text of ['a1', 'a2', 'a3', 'a4', 'a5']) await store(0, text);
  await store(1, 'b1');
  const { sink } = await join(4, {
    cursors: [undefined, '99999999999999-0' as EntryId, '5-0' as EntryId],
  });
  const [opening, ...writes] = said(sink);
  expect(opening).toBe('open');
  const all = writes.join(' ');
  expect(all).toMatch(/0:gap .*a5/);
  expect(all).toMatch(/1:reset/);
  expect(all).toMatch(/2:expired/);
  // Nothing is known of the one that has nothing, and nothing any more of the one that expired.
  expect(writes.at(-1)).toMatch(/ \[a5 b1 - -\]$/);
});

test('a listener is counted once, is kept alive once, and sent away once', async () => {
  start({ maxListeners: 2 });
  const { sink } = await join(5, { wantsDrainNotice: true });
  const other = await join(5);
  expect(listeners.count).toBe(2);
  await expect(join(1)).rejects.toMatchObject({ reason: 'too_many_listeners' });
  await vi.advanceTimersByTimeAsync(2 * KEEP_ALIVE_SEC * 1000);
  expect(said(sink)).toEqual(['open', 'beat', 'beat']);
  const drained = listeners.drain(0);
  await vi.advanceTimersByTimeAsync(100);
  await drained;
  expect(sink.heard.slice(3)).toEqual(['server_draining', 'goodbye']);
  expect(other.sink.heard.at(-1)).toBe('goodbye');
  expect([sink.over, other.sink.over, listeners.count]).toEqual(['ended', 'ended', 0]);
});

describe('slow readers', () => {
  test('of much history wait for it, and are not cut for what so many channels have', async () => {
    start();
    const large = 'x'.repeat(16 * 1024);
    for (let n = 0; n < 20; n++) for (let i = 0; i < 40; i++) await store(n, large);
    const sink = new Words();
    sink.stalled = true;
    const joining = join(20, { sink });
    for (let turn = 0; turn < 400 && sink.over === undefined; turn++) {
      await vi.advanceTimersByTimeAsync(10);
      sink.waitingBytes = 0;
      sink.onDrain();
    }
    await joining;
    expect(sink.over).toBeUndefined();
    expect(sink.most).toBeLessThan(MAX_WAITING_BYTES);
    expect(sink.heard.join('').split('x').length - 1).toBe(20 * 40 * large.length);
  });

  test('that take nothing at all are cut, also before all of their channels are begun', async () => {
    start();
    const large = 'x'.repeat(16 * 1024);
    for (let n = 0; n < 20; n++) for (let i = 0; i < 40; i++) await store(n, large);
    const sink = new Words();
    sink.stalled = true;
    const joining = join(20, { sink });
    await vi.advanceTimersByTimeAsync(MAX_WITHOUT_DRAIN_MS);
    expect(sink.over).toBeUndefined();
    await vi.advanceTimersByTimeAsync(2 * KEEP_ALIVE_SEC * 1000);
    expect(sink.over).toBe('too_slow');
    await joining;
    expect([listeners.count, follower.channels]).toEqual([0, 0]);
  });

  test('are cut at the byte limit of one, whatever the number of channels', async () => {
    start();
    const { sink } = await join(20);
    const { sink: good } = await join(20);
    sink.stalled = true;
    const large = 'x'.repeat(MAX_WAITING_BYTES / 16);
    for (let n = 0; n < 20; n++) await publish(n, large);
    expect(sink.over).toBe('too_slow');
    expect(good.over).toBeUndefined();
    expect(listeners.count).toBe(1);
  });
});

describe('who goes', () => {
  test('leaves all channels', async () => {
    start();
    const { sink } = await join(20);
    sink.onGone();
    await publish(3, 'd');
    expect(said(sink)).toEqual(['open']);
    expect(listeners.count).toBe(0);
  });

  test('before it was let in leaves nothing behind', async () => {
    start();
    const sink = new Words();
    sink.isGone = true;
    await join(20, { sink });
    expect([sink.heard, listeners.count, follower.channels]).toEqual([[], 0, 0]);
  });
});

describe('a broker that is away for one of the channels', () => {
  const without = (n: number, inner: Broker): Broker =>
    new Proxy(inner, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name, target);
        if (typeof member !== 'function') return member;
        return (...given: unknown[]) => {
          if (name === 'read' && given[0] === keyOf(n)) return Promise.reject(new BrokerUnavailableError('away'));
          return Reflect.apply(member, target, given);
        };
      },
    });

  test('refuses the listener, if nothing was said yet', async () => {
    start({ broker: (memory) => without(0, memory) });
    await expect(join(3)).rejects.toMatchObject({ reason: 'broker_away' });
    expect(listeners.count).toBe(0);
  });

  test('ends it so that it comes back, if something was', async () => {
    start({ broker: (memory) => without(19, memory) });
    for (let n = 0; n < 19; n++) await store(n, 'x'.repeat(64 * 1024));
    const { sink, joined } = await join(20);
    expect([joined, sink.over]).toEqual(['following', 'unavailable']);
    expect(listeners.count).toBe(0);
  });
});
