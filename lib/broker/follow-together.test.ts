import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import type { Broker, Entry } from './broker.ts';
import type { EntryId } from './entry-id.ts';
import { Follower, type Notice, type Reader } from './follow.ts';
import { CHANNEL, cuttable, PATIENCE_MS, publish, texts } from './follow-testing.ts';

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
    onTestFinished(() => follower.close());
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
