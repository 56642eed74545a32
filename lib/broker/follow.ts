import type { Broker, ChannelKey, Entry } from './broker.ts';
import { ChannelFeed } from './channel-feed.ts';
import type { EntryId } from './entry-id.ts';
import { Replays } from './replays.ts';

/**
 * Follows channels for any number of readers over a broker whose live delivery may lose anything.
 *
 * - One feed, and so one broker subscription, a channel and process, whatever the number of readers.
 * - Every reader gets every entry after its cursor, in order, each once. What can't be delivered is said: `gap` (trimmed
 *   before it was read), `expired` (the whole log is gone), `reset` (the log was rolled back below the cursor).
 * - The chain finds holes: an entry whose `prev` is beyond the last one makes the feed read what is between. The tail
 *   check finds lost ends: every {@link FollowOptions.tailCheckMs}, and at once after an interruption, last ids are
 *   compared. An entry whose `prev` is before the last one means a roll-back that has already moved on: `reset` is said,
 *   and it is delivered.
 * - While the broker is away readers keep their place; after {@link FollowOptions.patienceMs} they are told.
 * - Text of a channel that coalesces reaches a reader at most once a window, the first at once; what is not text comes at
 *   once, behind the text before it. An entry may stand for several then, which counts for its place as if it were them.
 *
 * `D` is what readers share for an entry (its decoded and encoded forms), made once by `share`; what is due in one turn of
 * the event loop, or after a window, is put `together`.
 */
export interface Reader<D> {
  /** The next entry. Must not throw and must not block: whoever can't keep up says so by `congested`. */
  deliver(shared: D): void;
  /** News about the stream itself. `cursor` is where the reader stands after it; undefined: it has none any more. */
  control(notice: Notice, cursor: EntryId | undefined): void;
  /** Nothing follows. `ended`: the channel is sealed and everything retained was delivered. */
  finish(reason: 'ended' | 'unavailable'): void;
  /** While history is replayed: resolves when more can be taken. Undefined: now. */
  congested(): Promise<void> | undefined;
}

export type Notice =
  | { readonly type: 'gap'; readonly firstId: EntryId }
  | { readonly type: 'expired' }
  | { readonly type: 'reset' };

export interface FollowOptions<D extends object> {
  readonly broker: Broker;
  readonly share: (entry: Entry) => D;
  /** Makes few of many, in their order, for one write a reader. Undefined: each is delivered by itself. */
  readonly together?: (shared: readonly D[]) => readonly D[];
  /** How often the tails of all followed channels are compared. */
  readonly tailCheckMs?: number;
  /** How long readers wait for a broker that is away before they are finished as `unavailable`. */
  readonly patienceMs?: number;
  /** Told of errors that are nobody's to handle: a bug in `share` or a reader. The reader concerned is finished. */
  readonly onError: (error: unknown) => void;
}

/** What {@link Follower.follow} found before it delivered anything. */
export type Following =
  /** The reader is attached. `leave` is idempotent. */
  | { readonly kind: 'following'; leave(): void }
  /** The cursor is where the sealed channel ends: nothing will ever follow. The reader was not called. */
  | { readonly kind: 'at_end' };

const DEFAULT_TAIL_CHECK_MS = 5_000;
const DEFAULT_PATIENCE_MS = 30_000;

export class Follower<D extends object> {
  readonly #broker: Broker;
  readonly #share: (entry: Entry) => D;
  readonly #together: (shared: readonly D[]) => readonly D[];
  readonly #replays = new Replays<D>();
  readonly #patienceMs: number;
  readonly #onError: (error: unknown) => void;
  readonly #feeds = new Map<ChannelKey, ChannelFeed<D>>();
  readonly #timer: NodeJS.Timeout;
  #due: ChannelFeed<D>[] = [];
  #checking = false;
  #checkAgain = false;
  #closed = false;

  constructor(options: FollowOptions<D>) {
    this.#broker = options.broker;
    this.#share = options.share;
    this.#together = options.together ?? ((shared) => shared);
    this.#patienceMs = options.patienceMs ?? DEFAULT_PATIENCE_MS;
    this.#onError = options.onError;
    this.#timer = setInterval(() => {
      this.#replays.purge();
      void this.#checkTails();
    }, options.tailCheckMs ?? DEFAULT_TAIL_CHECK_MS);
    this.#timer.unref();
    this.#broker.onInterruption(() => void this.#checkTails());
  }

  /**
   * Delivers the channel to `reader`, from after `cursor` (undefined: from the oldest entry retained), until it leaves
   * or is finished. Resolves when it is known that there is something to follow; delivery goes on from there.
   * @throws BrokerUnavailableError if the broker can't say where the channel stands.
   */
  async follow(channel: ChannelKey, cursor: EntryId | undefined, reader: Reader<D>): Promise<Following> {
    const feed = this.#feed(channel);
    return feed.join(reader, cursor);
  }

  /** Delivers what is due in all channels, also text that waits: before readers are sent away. */
  deliverDue(): void {
    for (const feed of this.#feeds.values()) this.#reporting(() => feed.deliverDue());
  }

  /** How many channels are followed at the moment. */
  get channels(): number {
    return this.#feeds.size;
  }

  /** Stops following; readers are left as they are, for their owner to end. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    for (const feed of this.#feeds.values()) feed.close();
    this.#feeds.clear();
    this.#replays.clear();
  }

  #feed(channel: ChannelKey): ChannelFeed<D> {
    let feed = this.#feeds.get(channel);
    if (feed === undefined) {
      const made: ChannelFeed<D> = new ChannelFeed<D>({
        broker: this.#broker,
        channel,
        share: this.#share,
        together: this.#together,
        replays: this.#replays,
        onDue: () => this.#onDue(made),
        patienceMs: this.#patienceMs,
        onError: this.#onError,
        // A successor may already stand in the map: only the feed that is there takes itself out.
        onIdle: () => {
          if (this.#feeds.get(channel) === made) this.#feeds.delete(channel);
        },
      });
      feed = made;
      this.#feeds.set(channel, feed);
    }
    return feed;
  }

  #onDue(feed: ChannelFeed<D>): void {
    if (this.#due.push(feed) === 1) setImmediate(this.#deliverNext);
  }

  /**
   * Publishers are answered at the end of this turn, and many readers take long: these come after those. In paired runs
   * with 3,000 listeners of a channel a publish took 2 ms instead of 65, and a delivery 23 instead of 39.
   */
  readonly #deliverNext = (): void => {
    setImmediate(this.#deliverDue);
  };

  readonly #deliverDue = (): void => {
    const due = this.#due;
    this.#due = [];
    for (const feed of due) this.#reporting(() => feed.turnOver());
  };

  #reporting(deliver: () => void): void {
    try {
      deliver();
    } catch (error) {
      this.#onError(error);
    }
  }

  async #checkTails(): Promise<void> {
    if (this.#checking) {
      this.#checkAgain = true;
      return;
    }
    this.#checking = true;
    try {
      do {
        this.#checkAgain = false;
        const feeds = [...this.#feeds.values()].filter((feed) => feed.established);
        if (feeds.length === 0) continue;
        // A live entry may overtake the answer: what counts is where each feed stood when the question left.
        const asked = feeds.map((feed) => feed.last);
        const askedMs = performance.now();
        const tails = await this.#broker.tails(feeds.map((feed) => feed.channel)).catch(() => []);
        feeds.forEach((feed, i) => {
          const tail = tails[i];
          if (tail === undefined) feed.brokerFailed(askedMs);
          else feed.compare(asked[i] ?? feed.last, tail);
        });
      } while (this.#checkAgain && !this.#closed);
    } finally {
      this.#checking = false;
    }
  }
}
