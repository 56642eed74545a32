import { type Broker, BrokerUnavailableError, type ChannelKey, type Entry, type Tail } from './broker.ts';
import { BEFORE_ALL, compareEntryIds, type EntryId } from './entry-id.ts';
import { FeedMemory } from './feed-memory.ts';
import type { Following, Reader } from './follow.ts';
import { LiveReaders, type LiveReadersOptions } from './live-readers.ts';
import { behind, holeBefore, type Run, runsOf, type Standing, standing } from './missing.ts';
import type { Replays } from './replays.ts';

const READ_BATCH = 128;
/** How long what was published live may be under way while an answer of the broker is there already. */
const LIVE_DELAY_MS = 50;
const RETRY_FIRST_MS = 50;
const RETRY_MAX_MS = 2_000;

type Read = Awaited<ReturnType<Broker['read']>>;

/** What a reader that catches up was answered, and where the feed stood when it was asked for. */
interface Answer extends Read {
  readonly feedAt: EntryId;
}

interface FeedOptions<D extends object> extends Omit<LiveReadersOptions<D>, 'onFailed'> {
  readonly broker: Broker;
  readonly channel: ChannelKey;
  readonly share: (entry: Entry) => D;
  readonly replays: Replays<D>;
  readonly patienceMs: number;
  readonly onIdle: () => void;
  readonly onError: (error: unknown) => void;
}

/**
 * One channel's feed in this process. `last` is the id that all its live readers have received, or are due after this turn
 * of the event loop; a reader that joins catches up on its own until it stands there too, and is live from then on.
 *
 * Live entries are delivered as {@link LiveReaders} has it.
 */
export class ChannelFeed<D extends object> {
  readonly channel: ChannelKey;
  readonly #options: FeedOptions<D>;
  /** Readers whose join is still being looked at, those replaying history, and those that stand at `last`. */
  #joining = 0;
  readonly #catchingUp = new Set<Reader<D>>();
  readonly #live: LiveReaders<D>;
  /** The answers that catching-up readers wait for, by where they read from: many join at once. */
  readonly #reading = new Map<EntryId, Promise<Answer>>();
  readonly #memory = new FeedMemory<D>();
  #last: EntryId = BEFORE_ALL;
  /** The latest live entry that the feed has heard of and not delivered yet. */
  #heard: EntryId = BEFORE_ALL;
  #unlisten: (() => void) | undefined;
  #start: Promise<void> | undefined;
  #established = false;
  #filling: Promise<void> | undefined;
  #failingSinceMs: number | undefined;
  #closed = false;

  constructor(options: FeedOptions<D>) {
    this.channel = options.channel;
    this.#options = options;
    this.#live = new LiveReaders({ ...options, onFailed: (reader, error) => this.#failed(reader, error) });
  }

  get last(): EntryId {
    return this.#last;
  }

  /** True once the subscription stands and `last` means something. */
  get established(): boolean {
    return this.#established && !this.#closed;
  }

  async join(reader: Reader<D>, cursor: EntryId | undefined): Promise<Following> {
    this.#joining++;
    try {
      await this.#ensureEstablished();
      const answer = await this.#read(cursor ?? BEFORE_ALL);
      if (cursor !== undefined && answer.tail.sealedBy === cursor) return { kind: 'at_end' };
      this.#catchingUp.add(reader);
      void this.#catchUp(reader, cursor === BEFORE_ALL ? undefined : cursor, answer);
      return { kind: 'following', leave: () => this.#leave(reader) };
    } finally {
      this.#joining--;
      this.#closeIfIdle();
    }
  }

  /** Takes the broker's tail, asked for when this feed stood at `asked`. */
  compare(asked: EntryId, tail: Tail): void {
    this.#failingSinceMs = undefined;
    const behind = compareEntryIds(tail.last, this.#last) > 0;
    const rolledBack = compareEntryIds(tail.last, asked) < 0;
    if (behind || rolledBack || tail.sealedBy !== undefined) this.#fill();
  }

  /** The broker did not say where the channel stands. */
  brokerFailed(): void {
    this.#failingSinceMs ??= performance.now();
    this.#failing(this.#failingSinceMs);
  }

  /** Readers wait, but not for ever. */
  #failing(sinceMs: number): void {
    if (!this.#isTooLong(sinceMs)) return;
    for (const reader of [...this.#live.settled(), ...this.#catchingUp]) this.#finish(reader, 'unavailable');
  }

  #isTooLong(sinceMs: number): boolean {
    return performance.now() - sinceMs >= this.#options.patienceMs;
  }

  /** The turn in which something fell due is over. */
  turnOver(): void {
    this.#live.turnOver();
  }

  /** Delivers what is due, also text that waits. */
  deliverDue(): void {
    this.#live.deliverDue();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#live.close();
    this.#unlisten?.();
    this.#options.onIdle();
  }

  #ensureEstablished(): Promise<void> {
    this.#start ??= this.#establish().catch((error: unknown) => {
      this.#start = undefined;
      this.#unlisten?.();
      this.#unlisten = undefined;
      throw error;
    });
    return this.#start;
  }

  /** Listens first and asks for the tail then, so that nothing falls between. */
  async #establish(): Promise<void> {
    this.#unlisten = await this.#options.broker.listen(this.channel, (entry) => this.#onLive(entry));
    const [tail] = await this.#options.broker.tails([this.channel]);
    if (tail === undefined) throw new BrokerUnavailableError('the broker can not say where the channel stands');
    this.#last = tail.last;
    this.#established = true;
    if (this.#closed) this.#unlisten();
    else if (compareEntryIds(this.#heard, this.#last) > 0) this.#fill();
  }

  /** Brings one reader from its cursor to where the feed stands, and makes it live. */
  async #catchUp(reader: Reader<D>, cursor: EntryId | undefined, first: Answer): Promise<void> {
    let at = cursor;
    let readTo = BEFORE_ALL;
    let answer = first;
    try {
      for (;;) {
        const { entries, tail, feedAt } = answer;
        if (entries.length === 0) {
          const stand = standing(at, tail);
          if (stand !== undefined) {
            this.#memory.wentBack(stand, readTo);
            at = stand.cursor;
            reader.control(stand.notice, at);
          }
        }
        for (const run of runsOf(entries)) {
          const hole = holeBefore(run.first, at);
          if (hole !== undefined) {
            this.#memory.wentBack(hole, readTo);
            reader.control(hole.notice, hole.cursor);
          }
          for (const shared of this.#replayed(run)) {
            reader.deliver(shared);
            await reader.congested();
            if (!this.#catchingUp.has(reader)) return;
          }
          at = run.last.id;
          readTo = at;
          if (run.last.seals) return this.#finish(reader, 'ended');
        }
        if (entries.length < READ_BATCH) {
          if (tail.sealedBy !== undefined) return this.#finish(reader, 'ended');
          // The log may have expired, or been rolled back, without the feed's knowing: then what it remembers is gone too.
          const agreed = compareEntryIds(tail.last, feedAt) >= 0;
          if (agreed && this.#goLive(reader, at ?? BEFORE_ALL)) return;
          this.#fill();
          await this.#filling;
          if (!this.#catchingUp.has(reader) || (agreed && this.#goLive(reader, at ?? BEFORE_ALL))) return;
        }
        const next = await this.#readUntilAnswered(reader, at ?? BEFORE_ALL);
        if (next === undefined) return;
        answer = next;
      }
    } catch (error) {
      this.#failed(reader, error);
    }
  }

  /** Reads for a reader that has begun: retried as long as it stays, and is to wait. */
  async #readUntilAnswered(reader: Reader<D>, at: EntryId): Promise<Answer | undefined> {
    const sinceMs = performance.now();
    for (let retryMs = RETRY_FIRST_MS; ; retryMs = Math.min(retryMs * 2, RETRY_MAX_MS)) {
      try {
        const read = await this.#read(at);
        return this.#catchingUp.has(reader) ? read : undefined;
      } catch {
        if (this.#catchingUp.has(reader) && this.#isTooLong(sinceMs)) this.#finish(reader, 'unavailable');
      }
      if (!this.#catchingUp.has(reader)) return undefined;
      await delay(retryMs);
    }
  }

  #read(after: EntryId): Promise<Answer> {
    let reading = this.#reading.get(after);
    if (reading === undefined) {
      reading = this.#ask(after).finally(() => this.#reading.delete(after));
      this.#reading.set(after, reading);
    }
    return reading;
  }

  async #ask(after: EntryId): Promise<Answer> {
    const feedAt = this.#last;
    return { ...(await this.#options.broker.read(this.channel, after, READ_BATCH)), feedAt };
  }

  /**
   * Attaches a reader that stands at `at`, or ends it with the channel, if the feed can vouch for all that lies between.
   * No await in here.
   */
  #goLive(reader: Reader<D>, at: EntryId): boolean {
    // Text goes on waiting: else many who join would undo for the others what their channel coalesces for.
    if (!this.#live.wait) this.deliverDue();
    if (at !== this.#last) {
      const missing = this.#memory.since(at);
      if (missing === undefined) return false;
      for (const shared of this.#live.together(missing)) reader.deliver(shared);
      // It ended since this reader looked: the others were told then.
      if (missing.at(-1)?.entry.seals) {
        this.#finish(reader, 'ended');
        return true;
      }
    }
    if (this.#catchingUp.delete(reader)) this.#live.add(reader, this.#last);
    return true;
  }

  #onLive(entry: Entry): void {
    if (this.#closed) return;
    const isNews = compareEntryIds(entry.id, this.#last) > 0;
    if (this.established && isNews && entry.prev === this.#last && !this.#memory.mayBeLost(entry.id)) {
      this.#advance(entry);
      return;
    }
    if (isNews) {
      if (compareEntryIds(entry.id, this.#heard) > 0) this.#heard = entry.id;
    } else if (entry.id === this.#last || this.#memory.hasDelivered(entry.id)) {
      return; // Read before it was heard.
    }
    // A hole before it, or an id from before the last one: the log went back. The broker has to say.
    if (this.established) this.#fill();
  }

  /** Tells the live readers. What is remembered of before leads nobody on from there. */
  #tellLive(stand: Standing): void {
    this.#memory.wentBack(stand, this.#last);
    this.#memory.forget();
    this.#live.control(stand.notice, stand.cursor);
  }

  #advance(entry: Entry): void {
    this.#last = entry.id;
    const recent = { entry, shared: this.#options.share(entry) };
    this.#memory.add(recent);
    this.#live.owe(recent);
    if (entry.seals) this.#finishLive();
  }

  /**
   * Reads from the broker until the live readers stand at the tail. One at a time; retried until it succeeds. What comes
   * live meanwhile and fits is taken: the log may have let go of it before it could be read.
   */
  #fill(): void {
    if (this.#closed) return;
    this.#filling ??= this.#readToTail()
      .catch((error: unknown) => this.#options.onError(error))
      .finally(() => {
        this.#filling = undefined;
      });
  }

  async #readToTail(): Promise<void> {
    let waitedAt: EntryId | undefined;
    // Of its own: who compares last ids may be answered all the while.
    let failingSinceMs: number | undefined;
    for (let retryMs = RETRY_FIRST_MS; !this.#closed; ) {
      const from = this.#last;
      let read: Read;
      try {
        read = await this.#options.broker.read(this.channel, from, READ_BATCH);
      } catch {
        failingSinceMs ??= performance.now();
        this.#failing(failingSinceMs);
        await delay(retryMs);
        retryMs = Math.min(retryMs * 2, RETRY_MAX_MS);
        continue;
      }
      if (this.#closed) return;
      retryMs = RETRY_FIRST_MS;
      failingSinceMs = undefined;
      this.#failingSinceMs = undefined;
      const { tail } = read;
      const hasMoved = this.#last !== from;
      const entries = hasMoved ? behind(this.#last, read) : read.entries;
      if (entries === undefined) continue;
      const before = this.#last === BEFORE_ALL ? undefined : this.#last;
      const [next] = entries;
      if (next !== undefined && waitedAt !== this.#last && holeBefore(next, before)?.notice.type === 'gap') {
        waitedAt = this.#last;
        await delay(LIVE_DELAY_MS);
        continue;
      }
      const stand = entries.length === 0 && !hasMoved ? standing(before, tail) : undefined;
      if (stand !== undefined) {
        this.#tellLive(stand);
        this.#last = stand.cursor ?? BEFORE_ALL;
      }
      for (const entry of entries) {
        const at = this.#last === BEFORE_ALL ? undefined : this.#last;
        const hole = holeBefore(entry, at);
        if (hole !== undefined) this.#tellLive(hole);
        this.#advance(entry);
      }
      if (read.entries.length === READ_BATCH) continue;
      if (tail.sealedBy !== undefined) this.#finishLive();
      const heardMore = compareEntryIds(this.#heard, this.#last) > 0;
      // What is heard of once more and still not in the log was rolled back since: asking for ever would not bring it.
      this.#heard = BEFORE_ALL;
      if (!heardMore) return;
    }
  }

  /** A run of history as it is delivered. Those who are sent the same joined text share that, too. */
  #replayed({ first, last, entries }: Run): readonly D[] {
    const make = () => this.#live.together(entries.map((entry) => ({ entry, shared: this.#shared(entry) })));
    if (first === last || entries.every(({ coalesceMs }) => coalesceMs === undefined)) return make();
    return this.#options.replays.shareRun(this.channel, entries, make);
  }

  /** The form of an entry that its readers share; the recent ones have theirs already. */
  #shared(entry: Entry): D {
    return this.#memory.sharedOf(entry) ?? this.#options.replays.share(this.channel, entry, this.#options.share);
  }

  #finishLive(): void {
    for (const reader of this.#live.settled()) this.#finish(reader, 'ended');
  }

  #finish(reader: Reader<D>, reason: 'ended' | 'unavailable'): void {
    this.#leave(reader);
    reader.finish(reason);
  }

  #failed(reader: Reader<D>, error: unknown): void {
    this.#options.onError(error);
    this.#finish(reader, 'unavailable');
  }

  #leave(reader: Reader<D>): void {
    this.#live.delete(reader);
    this.#catchingUp.delete(reader);
    this.#closeIfIdle();
  }

  #closeIfIdle(): void {
    if (this.#live.isEmpty && this.#catchingUp.size === 0 && this.#joining === 0) this.close();
  }
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
