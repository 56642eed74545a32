import { afterEach, describe, expect, test, vi } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { type Broker, BrokerUnavailableError, type ChannelKey, channelKey, type Entry } from './broker.ts';
import { BEFORE_ALL, type EntryId, entryIdMs, parseEntryId } from './entry-id.ts';
import { Follower, type Notice, type Reader } from './follow.ts';
import { createMemoryBroker } from './memory-broker.ts';

const CHANNEL = channelKey(1n, '97f58c19-ce38-4c6b-8a5b-47f3405691f0');
const NO_LIMIT = { name: 'unary', perSec: 0 } as const;
/** For what never comes, not for what is slow. */
const PATIENCE_MS = 10_000;

const open: { close(): unknown }[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.close();
});

/** A real broker in memory whose live delivery and answers a test can cut, as a network would. */
function cuttable(options: Parameters<typeof createMemoryBroker>[0] = {}) {
  const broker = createMemoryBroker(options);
  const line = { live: true, answers: true, silent: undefined as ChannelKey | undefined, refused: 0 };
  let interrupted = () => {};
  const answer = <T>(value: () => Promise<T>): Promise<T> => (line.answers ? value() : refuse());
  const refuse = () => {
    line.refused++;
    return Promise.reject(new BrokerUnavailableError('cut'));
  };
  const cut: Broker = {
    name: broker.name,
    decisions: broker.decisions,
    publish: (...args) => broker.publish(...args),
    publishMany: (...args) => broker.publishMany(...args),
    read: (...args) => answer(() => broker.read(...args)),
    tails: (channels) =>
      answer(async () => {
        const tails = await broker.tails(channels);
        return tails.map((tail, n) => (channels[n] === line.silent ? undefined : tail));
      }),
    listen: (channel, onEntry) => answer(() => broker.listen(channel, (entry) => line.live && onEntry(entry))),
    onInterruption: (callback) => {
      interrupted = callback;
    },
    governIdle: (...args) => broker.governIdle(...args),
    endIdle: (...args) => broker.endIdle(...args),
    ping: (timeoutMs) => broker.ping(timeoutMs),
    close: () => broker.close(),
  };
  open.push(broker);
  return { broker: cut, line, interrupt: () => interrupted() };
}

function follow(broker: Broker, options: { tailCheckMs?: number; patienceMs?: number } = {}) {
  const follower = new Follower<Entry>({
    broker,
    share: (entry) => entry,
    tailCheckMs: 20,
    onError: (error) => {
      throw error;
    },
    ...options,
  });
  open.push(follower);
  return follower;
}

class Notes implements Reader<Entry> {
  readonly texts: string[] = [];
  readonly ids: EntryId[] = [];
  readonly notices: { notice: Notice; cursor: EntryId | undefined }[] = [];
  finished: string | undefined;
  busy: Promise<void> | undefined;
  deliver(entry: Entry): void {
    this.ids.push(entry.id);
    this.texts.push(new TextDecoder().decode(entry.data));
  }
  control(notice: Notice, cursor: EntryId | undefined): void {
    this.notices.push({ notice, cursor });
  }
  finish(reason: string): void {
    this.finished = reason;
  }
  congested(): Promise<void> | undefined {
    return this.busy;
  }
}

let sequence = 0n;
async function publish(broker: Broker, text: string, phase: Phase = Phase.DELTA, channel: ChannelKey = CHANNEL) {
  const message = { messageId: crypto.randomUUID(), phase, sequence: sequence++, data: new TextEncoder().encode(text) };
  const result = await broker.publish(channel, message, NO_LIMIT);
  if (result.kind !== 'stored') throw new Error(result.kind);
  return result.id;
}

const texts = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `${from + i}`);

describe('a reader', () => {
  test('gets what is retained, then what comes, and ends after END', async () => {
    const { broker } = cuttable();
    for (const text of texts(0, 300)) await publish(broker, text);
    const notes = new Notes();
    await follow(broker).follow(CHANNEL, undefined, notes);
    await vi.waitFor(() => expect(notes.texts).toHaveLength(300), PATIENCE_MS);
    for (const text of texts(300, 310)) await publish(broker, text);
    await publish(broker, '310', Phase.END);
    await vi.waitFor(() => expect(notes.finished).toBe('ended'), PATIENCE_MS);
    expect(notes.texts).toEqual(texts(0, 311));
    expect(notes.notices).toEqual([]);
  });

  test('resumes after its cursor, and has nothing to come back for at the end of a sealed channel', async () => {
    const { broker } = cuttable();
    const ids = [];
    for (const text of texts(0, 4)) ids.push(await publish(broker, text));
    const last = await publish(broker, '4', Phase.END);
    const follower = follow(broker);
    const notes = new Notes();
    await follower.follow(CHANNEL, ids[1], notes);
    await vi.waitFor(() => expect(notes.finished).toBe('ended'), PATIENCE_MS);
    expect(notes.texts).toEqual(['2', '3', '4']);
    const again = new Notes();
    expect(await follower.follow(CHANNEL, last, again)).toEqual({ kind: 'at_end' });
    expect(again).toEqual(new Notes());
    expect(follower.channels).toBe(0);
  });

  test('misses nothing that is published while it catches up slowly', async () => {
    const { broker } = cuttable();
    for (const text of texts(0, 500)) await publish(broker, text);
    const notes = new Notes();
    let resume = () => {};
    notes.busy = new Promise((resolve) => {
      resume = resolve;
    });
    await follow(broker).follow(CHANNEL, undefined, notes);
    for (const text of texts(500, 900)) await publish(broker, text);
    notes.busy = undefined;
    resume();
    for (const text of texts(900, 1000)) await publish(broker, text);
    await vi.waitFor(() => expect(notes.texts).toHaveLength(1000), PATIENCE_MS);
    expect(notes.texts).toEqual(texts(0, 1000));
  });

  test('shares a feed with others, whatever their cursors, and the feed goes with the last', async () => {
    const { broker } = cuttable();
    const ids = [];
    for (const text of texts(0, 10)) ids.push(await publish(broker, text));
    const follower = follow(broker);
    const readers = await Promise.all(
      ids.map(async (cursor) => {
        const notes = new Notes();
        return { notes, following: await follower.follow(CHANNEL, cursor, notes) };
      }),
    );
    expect(follower.channels).toBe(1);
    await publish(broker, '10');
    for (const [i, { notes }] of readers.entries()) {
      await vi.waitFor(() => expect(notes.texts).toEqual(texts(i + 1, 11)), PATIENCE_MS);
    }
    for (const { following } of readers) if (following.kind === 'following') following.leave();
    expect(follower.channels).toBe(0);
    const late = new Notes();
    await follower.follow(CHANNEL, ids[9], late);
    await vi.waitFor(() => expect(late.texts).toEqual(['10']), PATIENCE_MS);
  });
});

describe('sharing', () => {
  /** A reader of lists: what was delivered together. */
  class Lists implements Reader<Entry[]> {
    readonly lists: string[][] = [];
    finished: string | undefined;
    deliver(entries: Entry[]): void {
      this.lists.push(entries.map(({ data }) => new TextDecoder().decode(data)));
    }
    control(notice: Notice): void {
      this.lists.push([notice.type]);
    }
    finish(reason: string): void {
      this.finished = reason;
    }
    congested(): undefined {}
  }

  function followLists(broker: Broker) {
    const shared: EntryId[] = [];
    const follower = new Follower<Entry[]>({
      broker,
      share: (entry) => {
        shared.push(entry.id);
        return [entry];
      },
      together: (lists) => [lists.flat()],
      onError: (error) => {
        throw error;
      },
    });
    open.push(follower);
    return { follower, shared };
  }

  test('what is published in one turn of the event loop is delivered together, and its end with it', async () => {
    const { broker } = cuttable();
    const { follower } = followLists(broker);
    const readers = [new Lists(), new Lists()];
    for (const reader of readers) await follower.follow(CHANNEL, undefined, reader);
    await publish(broker, '0');
    await vi.waitFor(() => expect(readers[0]?.lists).toEqual([['0']]), PATIENCE_MS);
    for (const text of texts(1, 4)) void publish(broker, text);
    expect(readers[0]?.lists).toHaveLength(1);
    await vi.waitFor(() => expect(readers[0]?.lists).toEqual([['0'], ['1', '2', '3']]), PATIENCE_MS);
    for (const text of texts(4, 6)) void publish(broker, text);
    await publish(broker, '6', Phase.END);
    for (const { lists, finished } of readers) {
      expect(lists).toEqual([['0'], ['1', '2', '3'], ['4', '5', '6']]);
      expect(finished).toBe('ended');
    }
  });

  test('who becomes live between a publish and its delivery gets it once', async () => {
    const { broker } = cuttable();
    const { follower } = followLists(broker);
    const first = new Lists();
    await follower.follow(CHANNEL, undefined, first);
    const joining: { reader: Lists; id: EntryId }[] = [];
    for (let n = 0; n < 50; n++) {
      const id = await publish(broker, `${n}`);
      const reader = new Lists();
      joining.push({ reader, id });
      void follower.follow(CHANNEL, n % 2 === 0 ? id : undefined, reader);
      if (n % 5 === 0) await new Promise(setImmediate);
    }
    await publish(broker, '50', Phase.END);
    await vi.waitFor(() => expect(joining.every(({ reader }) => reader.finished === 'ended')).toBe(true), PATIENCE_MS);
    expect(first.lists.flat()).toEqual(texts(0, 51));
    for (const [n, { reader }] of joining.entries()) {
      expect(reader.lists.flat()).toEqual(n % 2 === 0 ? texts(n + 1, 51) : texts(0, 51));
    }
  });

  test('a gap in what is due together is said where it is', async () => {
    const { broker, line } = cuttable({ retention: { maxEntries: 2, minAgeMs: 0 }, now: clock() });
    const { follower } = followLists(broker);
    const reader = new Lists();
    await follower.follow(CHANNEL, undefined, reader);
    await publish(broker, '0');
    line.live = false;
    for (const text of texts(1, 9)) await publish(broker, text);
    line.live = true;
    await publish(broker, '9', Phase.END);
    await vi.waitFor(() => expect(reader.finished).toBe('ended'), PATIENCE_MS);
    expect(reader.lists.slice(0, 2)).toEqual([['0'], ['gap']]);
    expect(reader.lists.flat().slice(2)).toEqual(texts(Number(reader.lists[2]?.[0]), 10));
  });

  test('a history is made ready once, however many join it together', async () => {
    const { broker } = cuttable();
    for (const text of texts(0, 300)) await publish(broker, text);
    const { follower, shared } = followLists(broker);
    const readers = Array.from({ length: 100 }, () => new Lists());
    await Promise.all(readers.map((reader) => follower.follow(CHANNEL, undefined, reader)));
    await vi.waitFor(() => expect(readers.every(({ lists }) => lists.flat().length === 300)).toBe(true), PATIENCE_MS);
    for (const { lists } of readers) expect(lists.flat()).toEqual(texts(0, 300));
    expect(shared).toHaveLength(300);
    expect(readers[0]?.lists.length).toBeLessThan(10);
  });
});

/** Each look at it is a millisecond later. */
function clock(): () => number {
  let nowMs = 1_000_000;
  return () => nowMs++;
}

describe('when live delivery loses', () => {
  test('the middle, the chain finds it with the next entry', async () => {
    const { broker, line } = cuttable();
    const notes = new Notes();
    await follow(broker, { tailCheckMs: 3_600_000 }).follow(CHANNEL, undefined, notes);
    await publish(broker, '0');
    line.live = false;
    for (const text of texts(1, 200)) await publish(broker, text);
    line.live = true;
    await publish(broker, '200');
    await vi.waitFor(() => expect(notes.texts).toEqual(texts(0, 201)), PATIENCE_MS);
  });

  test('the end, the tail check finds it', async () => {
    const { broker, line } = cuttable();
    const notes = new Notes();
    await follow(broker).follow(CHANNEL, undefined, notes);
    line.live = false;
    await publish(broker, '0');
    await publish(broker, '1', Phase.END);
    await vi.waitFor(() => expect(notes.finished).toBe('ended'), PATIENCE_MS);
    expect(notes.texts).toEqual(['0', '1']);
  });

  test('something during an interruption, it is looked for at once', async () => {
    const { broker, line, interrupt } = cuttable();
    const notes = new Notes();
    await follow(broker, { tailCheckMs: 3_600_000 }).follow(CHANNEL, undefined, notes);
    line.live = false;
    await publish(broker, '0');
    interrupt();
    await vi.waitFor(() => expect(notes.texts).toEqual(['0']), PATIENCE_MS);
  });
});

describe('what can not be delivered is said:', () => {
  test('a gap, to a cursor that was trimmed and to a reader without one', async () => {
    let nowMs = 1_000_000;
    const { broker } = cuttable({ retention: { maxEntries: 5, minAgeMs: 0 }, now: () => nowMs++ });
    const first = await publish(broker, '0');
    const ids = [first];
    for (const text of texts(1, 20)) ids.push(await publish(broker, text));
    const { entries } = await broker.read(CHANNEL, BEFORE_ALL, 100);
    const firstId = entries[0]?.id;
    const follower = follow(broker);
    for (const cursor of [first, undefined]) {
      const notes = new Notes();
      await follower.follow(CHANNEL, cursor, notes);
      await vi.waitFor(() => expect(notes.texts.at(-1)).toBe('19'), PATIENCE_MS);
      expect(notes.notices).toEqual([{ notice: { type: 'gap', firstId }, cursor }]);
      expect(notes.ids[0]).toBe(firstId);
    }
  });

  test('expired, when the log is gone; what is published next arrives', async () => {
    let nowMs = 1_000_000;
    const { broker } = cuttable({ now: () => nowMs });
    const cursor = await publish(broker, 'old');
    const follower = follow(broker);
    const live = new Notes();
    await follower.follow(CHANNEL, cursor, live);
    nowMs += 3_600_000;
    const resumed = new Notes();
    await follower.follow(CHANNEL, cursor, resumed);
    for (const notes of [live, resumed]) {
      await vi.waitFor(
        () => expect(notes.notices).toEqual([{ notice: { type: 'expired' }, cursor: undefined }]),
        PATIENCE_MS,
      );
    }
    await publish(broker, 'new');
    for (const notes of [live, resumed]) await vi.waitFor(() => expect(notes.texts).toEqual(['new']), PATIENCE_MS);
  });

  test('expired and ended, when a sealed log is gone: the cursor is the end', async () => {
    let nowMs = 1_000_000;
    const { broker } = cuttable({ now: () => nowMs });
    const cursor = await publish(broker, '0');
    const end = await publish(broker, '1', Phase.END);
    nowMs += 3_600_000;
    const notes = new Notes();
    await follow(broker).follow(CHANNEL, cursor, notes);
    await vi.waitFor(() => expect(notes.finished).toBe('ended'), PATIENCE_MS);
    expect(notes.notices).toEqual([{ notice: { type: 'expired' }, cursor: end }]);
  });

  test('reset, to a cursor beyond the tail, and on from the tail', async () => {
    const { broker } = cuttable();
    const tail = await publish(broker, 'before');
    const notes = new Notes();
    await follow(broker).follow(CHANNEL, parseEntryId('99999999999999-7'), notes);
    await vi.waitFor(() => expect(notes.notices).toEqual([{ notice: { type: 'reset' }, cursor: tail }]), PATIENCE_MS);
    await publish(broker, 'after');
    await vi.waitFor(() => expect(notes.texts).toEqual(['after']), PATIENCE_MS);
  });

  test('reset, to a cursor that the log does not know: it was rolled back, and has gone on since', async () => {
    const { broker } = cuttable();
    const before = await publish(broker, 'before');
    await vi.waitFor(() => expect(Date.now()).toBeGreaterThan(entryIdMs(before)), PATIENCE_MS);
    await publish(broker, 'after');
    const notes = new Notes();
    await follow(broker).follow(CHANNEL, parseEntryId(before.replace(/-.*/, '-7')), notes);
    await vi.waitFor(() => expect(notes.texts).toEqual(['after']), PATIENCE_MS);
    expect(notes.notices).toEqual([{ notice: { type: 'reset' }, cursor: before }]);
  });
});

describe('while the broker is away', () => {
  test('a reader that has begun keeps its place', async () => {
    const { broker, line } = cuttable();
    const notes = new Notes();
    await follow(broker).follow(CHANNEL, undefined, notes);
    await publish(broker, '0');
    line.live = false;
    line.answers = false;
    await publish(broker, '1');
    await vi.waitFor(() => expect(line.refused).toBeGreaterThan(2), PATIENCE_MS);
    expect(notes.finished).toBeUndefined();
    line.answers = true;
    await vi.waitFor(() => expect(notes.texts).toEqual(['0', '1']), PATIENCE_MS);
  });

  test('it is told when that takes too long', async () => {
    const { broker, line } = cuttable();
    const notes = new Notes();
    await follow(broker, { patienceMs: 50 }).follow(CHANNEL, undefined, notes);
    line.answers = false;
    await vi.waitFor(() => expect(notes.finished).toBe('unavailable'), PATIENCE_MS);
  });

  test('of one channel alone, the readers of others are told nothing', async () => {
    const { broker, line } = cuttable();
    const follower = follow(broker, { patienceMs: 50 });
    const other = channelKey(1n, 'a46b7cf6-c4a9-4d7b-9a33-4fdc4c6b4f10');
    const [concerned, unconcerned] = [new Notes(), new Notes()];
    await follower.follow(CHANNEL, undefined, concerned);
    await follower.follow(other, undefined, unconcerned);
    line.silent = CHANNEL;
    await vi.waitFor(() => expect(concerned.finished).toBe('unavailable'), PATIENCE_MS);
    expect(unconcerned.finished).toBeUndefined();
  });

  test('a new one is refused, and the next finds a feed that works', async () => {
    const { broker, line } = cuttable();
    const follower = follow(broker);
    line.answers = false;
    await expect(follower.follow(CHANNEL, undefined, new Notes())).rejects.toThrow(BrokerUnavailableError);
    expect(follower.channels).toBe(0);
    line.answers = true;
    const notes = new Notes();
    await follower.follow(CHANNEL, undefined, notes);
    await publish(broker, '0');
    await vi.waitFor(() => expect(notes.texts).toEqual(['0']), PATIENCE_MS);
  });
});
