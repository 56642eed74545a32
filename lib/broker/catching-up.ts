import type { Broker, ChannelKey } from './broker.ts';
import { BEFORE_ALL, compareEntryIds, type EntryId } from './entry-id.ts';
import type { FeedMemory } from './feed-memory.ts';
import { delay, READ_BATCH, RETRY_FIRST_MS, RETRY_MAX_MS, type Read } from './feed-reads.ts';
import type { Reader } from './follow.ts';
import { holeBefore, type Run, runsOf, standing } from './missing.ts';

/** What a reader was answered, and where the feed stood when it was asked for. */
interface Answer extends Read {
  readonly feedAt: EntryId;
}

/** The feed that readers are to catch up with. */
export interface CaughtUpWith<D> {
  readonly channel: ChannelKey;
  readonly broker: Broker;
  readonly patienceMs: number;
  readonly memory: FeedMemory<D>;
  /** Where its live readers stand. */
  readonly last: EntryId;
  /** The forms of a run's entries that its readers share. */
  replayed(run: Run): readonly D[];
  /** Takes a reader that stands at `at`, or ends it with the channel, if the feed can vouch for all that lies between. */
  goLive(reader: Reader<D>, at: EntryId): boolean;
  /** Brings its live readers to the tail, unless it is closed. */
  fill(): Promise<void> | undefined;
  finish(reader: Reader<D>, reason: 'ended' | 'unavailable'): void;
  failed(reader: Reader<D>, error: unknown): void;
}

/** The readers of a feed that replay history, each by itself, until they stand where the feed stands. */
export class CatchingUp<D> {
  readonly #feed: CaughtUpWith<D>;
  readonly #readers = new Set<Reader<D>>();
  /** The answers that they wait for, by where they read from: many join at once. */
  readonly #reading = new Map<EntryId, Promise<Answer>>();

  constructor(feed: CaughtUpWith<D>) {
    this.#feed = feed;
  }

  get isEmpty(): boolean {
    return this.#readers.size === 0;
  }

  get readers(): readonly Reader<D>[] {
    return [...this.#readers];
  }

  delete(reader: Reader<D>): boolean {
    return this.#readers.delete(reader);
  }

  /** Brings it from its cursor, for which {@link read} answered `first`, to where the feed stands, which takes it then. */
  add(reader: Reader<D>, cursor: EntryId | undefined, first: Answer): void {
    this.#readers.add(reader);
    void this.#catchUp(reader, cursor, first);
  }

  /** @throws BrokerUnavailableError */
  read(after: EntryId): Promise<Answer> {
    let reading = this.#reading.get(after);
    if (reading === undefined) {
      reading = this.#ask(after).finally(() => this.#reading.delete(after));
      this.#reading.set(after, reading);
    }
    return reading;
  }

  async #ask(after: EntryId): Promise<Answer> {
    const feedAt = this.#feed.last;
    return { ...(await this.#feed.broker.read(this.#feed.channel, after, READ_BATCH)), feedAt };
  }

  async #catchUp(reader: Reader<D>, cursor: EntryId | undefined, first: Answer): Promise<void> {
    const feed = this.#feed;
    let at = cursor;
    let readTo = BEFORE_ALL;
    let answer = first;
    try {
      for (;;) {
        const { entries, tail, feedAt } = answer;
        if (entries.length === 0) {
          const stand = standing(at, tail);
          if (stand !== undefined) {
            feed.memory.wentBack(stand, readTo);
            at = stand.cursor;
            reader.control(stand.notice, at);
          }
        }
        for (const run of runsOf(entries)) {
          const hole = holeBefore(run.first, at);
          if (hole !== undefined) {
            feed.memory.wentBack(hole, readTo);
            reader.control(hole.notice, hole.cursor);
          }
          for (const shared of feed.replayed(run)) {
            reader.deliver(shared);
            await reader.congested();
            if (!this.#readers.has(reader)) return;
          }
          at = run.last.id;
          readTo = at;
          if (run.last.seals) return feed.finish(reader, 'ended');
        }
        if (entries.length < READ_BATCH) {
          if (tail.sealedBy !== undefined) return feed.finish(reader, 'ended');
          // The log may have expired, or been rolled back, without the feed's knowing: then what it remembers is gone too.
          const agreed = compareEntryIds(tail.last, feedAt) >= 0;
          if (agreed && feed.goLive(reader, at ?? BEFORE_ALL)) return;
          await feed.fill();
          if (!this.#readers.has(reader) || (agreed && feed.goLive(reader, at ?? BEFORE_ALL))) return;
        }
        const next = await this.#readUntilAnswered(reader, at ?? BEFORE_ALL);
        if (next === undefined) return;
        answer = next;
      }
    } catch (error) {
      feed.failed(reader, error);
    }
  }

  /** Reads for a reader that has begun: retried as long as it stays, and is to wait. */
  async #readUntilAnswered(reader: Reader<D>, at: EntryId): Promise<Answer | undefined> {
    const { patienceMs } = this.#feed;
    const sinceMs = performance.now();
    for (let retryMs = RETRY_FIRST_MS; ; retryMs = Math.min(retryMs * 2, RETRY_MAX_MS)) {
      try {
        const read = await this.read(at);
        return this.#readers.has(reader) ? read : undefined;
      } catch {
        const isTooLong = performance.now() - sinceMs >= patienceMs;
        if (this.#readers.has(reader) && isTooLong) this.#feed.finish(reader, 'unavailable');
      }
      if (!this.#readers.has(reader)) return undefined;
      await delay(retryMs);
    }
  }
}
