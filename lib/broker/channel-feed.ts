import { type Broker, BrokerUnavailableError, type ChannelKey, type Entry, type Tail } from './broker.ts';
import { CatchingUp, type CaughtUpWith } from './catching-up.ts';
import { BEFORE_ALL, compareEntryIds, type EntryId } from './entry-id.ts';
import { FeedMemory } from './feed-memory.ts';
import { delay, READ_BATCH, RETRY_FIRST_MS, RETRY_MAX_MS, type Read } from './feed-reads.ts';
import type { Following, Reader } from './follow.ts';
import { LiveReaders, type LiveReadersOptions } from './live-readers.ts';
import { behind, holeBefore, type Run, type Standing, standing } from './missing.ts';
import type { Replays } from './replays.ts';

/** How long what was published live may be under way while an answer of the broker is there already. */
const LIVE_DELAY_MS = 50;

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
 * of the event loop; a reader that joins catches up on its own ({@link CatchingUp}) until it stands there too, and is live from
 * then on.
 *
 * Live entries are delivered as {@link LiveReaders} has it.
 */
export class ChannelFeed<D extends object> implements CaughtUpWith<D> {
  readonly channel: ChannelKey;
  readonly broker: Broker;
  readonly patienceMs: number;
  readonly memory = new FeedMemory<D>();
  readonly #options: FeedOptions<D>;
  /** Readers whose join is still being looked at, those replaying history, and those that stand at `last`. */
  #joining = 0;
  readonly #catchingUp = new CatchingUp<D>(this);
  readonly #live: LiveReaders<D>;
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
    this.broker = options.broker;
    this.patienceMs = options.patienceMs;
    this.#options = options;
    this.#live = new LiveReaders({ ...options, onFailed: (reader, error) => this.failed(reader, error) });
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
      const answer = await this.#catchingUp.read(cursor ?? BEFORE_ALL);
      if (cursor !== undefined && answer.tail.sealedBy === cursor) return { kind: 'at_end' };
      this.#catchingUp.add(reader, cursor === BEFORE_ALL ? undefined : cursor, answer);
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

  /**
   * The broker did not say where the channel stands, asked at `askedMs`. Readers wait from there: with a failure that takes its
   * time each time, it would be a matter of milliseconds which comparison is the one that is too late.
   */
  brokerFailed(askedMs: number): void {
    this.#failingSinceMs ??= askedMs;
    this.#failing(this.#failingSinceMs);
  }

  /** Readers wait, but not for ever. */
  #failing(sinceMs: number): void {
    if (performance.now() - sinceMs < this.patienceMs) return;
    for (const reader of [...this.#live.settled(), ...this.#catchingUp.readers]) this.finish(reader, 'unavailable');
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
    this.#unlisten = await this.broker.listen(this.channel, (entry) => this.#onLive(entry));
    const [tail] = await this.broker.tails([this.channel]);
    if (tail === undefined) throw new BrokerUnavailableError('the broker can not say where the channel stands');
    this.#last = tail.last;
    this.#established = true;
    if (this.#closed) this.#unlisten();
    else if (compareEntryIds(this.#heard, this.#last) > 0) this.#fill();
  }

  /**
   * Attaches a reader that stands at `at`, or ends it with the channel, if the feed can vouch for all that lies between.
   * No await in here.
   */
  goLive(reader: Reader<D>, at: EntryId): boolean {
    // Text goes on waiting: else many who join would undo for the others what their channel coalesces for.
    if (!this.#live.wait) this.deliverDue();
    if (at !== this.#last) {
      const missing = this.memory.since(at);
      if (missing === undefined) return false;
      for (const shared of this.#live.together(missing)) reader.deliver(shared);
      // It ended since this reader looked: the others were told then.
      if (missing.at(-1)?.entry.seals) {
        this.finish(reader, 'ended');
        return true;
      }
    }
    if (this.#catchingUp.delete(reader)) this.#live.add(reader, this.#last);
    return true;
  }

  #onLive(entry: Entry): void {
    if (this.#closed) return;
    const isNews = compareEntryIds(entry.id, this.#last) > 0;
    if (this.established && isNews && entry.prev === this.#last && !this.memory.mayBeLost(entry.id)) {
      this.#advance(entry);
      return;
    }
    if (isNews) {
      if (compareEntryIds(entry.id, this.#heard) > 0) this.#heard = entry.id;
    } else if (entry.id === this.#last || this.memory.hasDelivered(entry.id)) {
      return; // Read before it was heard.
    }
    // A hole before it, or an id from before the last one: the log went back. The broker has to say.
    if (this.established) this.#fill();
  }

  /** Tells the live readers. What is remembered of before leads nobody on from there. */
  #tellLive(stand: Standing): void {
    this.memory.wentBack(stand, this.#last);
    this.memory.forget();
    this.#live.control(stand.notice, stand.cursor);
  }

  #advance(entry: Entry): void {
    this.#last = entry.id;
    const recent = { entry, shared: this.#options.share(entry) };
    this.memory.add(recent);
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

  fill(): Promise<void> | undefined {
    this.#fill();
    return this.#filling;
  }

  async #readToTail(): Promise<void> {
    let waitedAt: EntryId | undefined;
    // Of its own: who compares last ids may be answered all the while.
    let failingSinceMs: number | undefined;
    for (let retryMs = RETRY_FIRST_MS; !this.#closed; ) {
      const from = this.#last;
      const askedMs = performance.now();
      let read: Read;
      try {
        read = await this.broker.read(this.channel, from, READ_BATCH);
      } catch {
        failingSinceMs ??= askedMs;
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
  replayed({ first, last, entries }: Run): readonly D[] {
    const make = () => this.#live.together(entries.map((entry) => ({ entry, shared: this.#shared(entry) })));
    if (first === last || entries.every(({ coalesceMs }) => coalesceMs === undefined)) return make();
    return this.#options.replays.shareRun(this.channel, entries, make);
  }

  /** The form of an entry that its readers share; the recent ones have theirs already. */
  #shared(entry: Entry): D {
    return this.memory.sharedOf(entry) ?? this.#options.replays.share(this.channel, entry, this.#options.share);
  }

  #finishLive(): void {
    for (const reader of this.#live.settled()) this.finish(reader, 'ended');
  }

  finish(reader: Reader<D>, reason: 'ended' | 'unavailable'): void {
    this.#leave(reader);
    reader.finish(reason);
  }

  failed(reader: Reader<D>, error: unknown): void {
    this.#options.onError(error);
    this.finish(reader, 'unavailable');
  }

  #leave(reader: Reader<D>): void {
    this.#live.delete(reader);
    this.#catchingUp.delete(reader);
    this.#closeIfIdle();
  }

  #closeIfIdle(): void {
    if (this.#live.isEmpty && this.#catchingUp.isEmpty && this.#joining === 0) this.close();
  }
}
