import type { ChannelKey } from '#lib/broker/broker.ts';
import { BEFORE_ALL, type EntryId } from '#lib/broker/entry-id.ts';
import type { Follower, Notice, Reader } from '#lib/broker/follow.ts';
import { Connection, type ConnectionOptions } from './connection.ts';
import type { Delivery, Wire } from './delivery.ts';

export interface ListenerOptions<T> extends ConnectionOptions<T> {
  readonly channel: ChannelKey;
  readonly wire: Wire<T>;
  /** Where it resumes; undefined: from the oldest entry. */
  readonly cursor: EntryId | undefined;
}

/** A listener of one channel: takes what its feed delivers and writes it to its sink in its wire format. */
export class Listener<T> extends Connection<T> implements Reader<Delivery> {
  readonly #wire: Wire<T>;
  readonly #channel: ChannelKey;
  #cursor: EntryId | undefined;
  #leaveFeed: () => void = () => {};

  constructor(options: ListenerOptions<T>) {
    super(options, options.wire);
    this.#wire = options.wire;
    this.#channel = options.channel;
    this.#cursor = options.cursor;
  }

  async begin(follower: Follower<Delivery>): Promise<'following' | 'at_end'> {
    const following = await follower.follow(this.#channel, this.#cursor, this);
    if (following.kind === 'at_end') return 'at_end';
    // It may have been delivered whole, or have gone, while the broker answered.
    if (this.isOver) following.leave();
    else this.#leaveFeed = following.leave;
    return 'following';
  }

  deliver(delivery: Delivery): void {
    this.#cursor = delivery.entry.id;
    this.say(delivery.encodedFor(this.#wire));
  }

  control(notice: Notice, cursor: EntryId | undefined): void {
    this.#cursor = cursor === BEFORE_ALL ? undefined : cursor;
    this.say(this.#wire.control(notice, this.#cursor));
  }

  protected leave(): void {
    this.#leaveFeed();
  }

  protected drainNotice(): T {
    return this.#wire.control({ type: 'server_draining' }, this.#cursor);
  }
}
