import type { ChannelKey } from '#lib/broker/broker.ts';
import { BEFORE_ALL, type EntryId } from '#lib/broker/entry-id.ts';
import type { Follower, Notice, Reader } from '#lib/broker/follow.ts';
import { CompositeCursor } from './composite-cursor.ts';
import { Connection, type ConnectionOptions } from './connection.ts';
import type { ControlNotice, Delivery } from './delivery.ts';
import { KEEP_ALIVE_SEC } from './listeners.ts';
import { atTurnsEnd } from './many-turn.ts';
import type { ManyWire } from './many-wire.ts';

/** What waits for the end of a turn: more is written at once, and its reader is asked whether it keeps up. */
const MAX_DUE_BYTES = 64 * 1024;
/**
 * Channels whose history is begun at the same time: each brings a write before it can be told to wait, so all together
 * must stay far below what a slow listener is cut at.
 */
const BEGIN_AT_ONCE = 8;

export interface ManyListenerOptions<T> extends ConnectionOptions<T> {
  readonly wire: ManyWire<T>;
  /** Different ones, at least one. */
  readonly channels: readonly { readonly key: ChannelKey; readonly id: string }[];
  /** Where it resumes in each of them; undefined: from the oldest entry. */
  readonly cursors: readonly (EntryId | undefined)[];
}

/**
 * A listener of several channels over one connection. What all of them have due in a turn is one write, which ends with
 * the cursor after it. A channel that ends leaves the others as they are; with the last one it ends.
 *
 * A connection that is cut within a write has delivered what its cursor does not know of: that is repeated, and nothing
 * is ever lost, because a cursor never stands in front of what it counts. What would be repeated in another form, joined
 * with other text, carries the cursor itself.
 */
export class ManyListener<T> extends Connection<T> {
  readonly #wire: ManyWire<T>;
  readonly #channels: ManyListenerOptions<T>['channels'];
  readonly #cursors: readonly (EntryId | undefined)[];
  readonly #cursor: CompositeCursor;
  readonly #leaves: (() => void)[] = [];
  #due: T[] = [];
  #dueBytes = 0;
  /** Nothing is due behind a cursor. */
  #dueHasCursor = false;
  #beginning = true;
  /** Channels that still go on. */
  #going: number;

  constructor(options: ManyListenerOptions<T>) {
    super(options, options.wire);
    this.#wire = options.wire;
    this.#channels = options.channels;
    this.#cursors = options.cursors;
    this.#going = options.channels.length;
    this.#cursor = new CompositeCursor(
      options.channels.map(({ key }) => key),
      options.cursors,
    );
  }

  async begin(follower: Follower<Delivery>): Promise<'following' | 'at_end'> {
    const waiting = this.#channels.map((_, n) => n);
    let atEnd = 0;
    let watch: NodeJS.Timeout | undefined;
    const beginSome = async (): Promise<void> => {
      for (let n = waiting.shift(); n !== undefined; n = waiting.shift()) {
        const drained = this.congested();
        // Those who have begun are looked at by others.
        if (drained !== undefined) {
          watch ??= setInterval(() => this.heartbeat(performance.now()), KEEP_ALIVE_SEC * 1000).unref();
        }
        await drained;
        if (this.isOver) return;
        try {
          if ((await this.#follow(n, follower)) === 'at_end') atEnd++;
        } catch (error) {
          waiting.length = 0;
          throw error;
        }
      }
    };
    const begun = await Promise.allSettled(Array.from({ length: BEGIN_AT_ONCE }, beginSome));
    clearInterval(watch);
    this.#beginning = false;
    const failed = begun.find(({ status }) => status === 'rejected');
    if (failed?.status === 'rejected') {
      // Others may have brought something meanwhile: then it is said where refusals can be said no longer.
      if (!this.isOpen) throw failed.reason;
      this.finish('unavailable');
    }
    if (atEnd === this.#channels.length) return 'at_end';
    this.#endWithTheLast();
    return 'following';
  }

  async #follow(n: number, follower: Follower<Delivery>): Promise<'following' | 'at_end'> {
    const channel = this.#channels[n];
    if (channel === undefined) throw new RangeError(`no channel ${n}`);
    const following = await follower.follow(channel.key, this.#cursors[n], new ChannelReader(this, n));
    if (following.kind === 'at_end') this.#going--;
    else if (this.isOver) following.leave();
    else this.#leaves.push(following.leave);
    return following.kind;
  }

  /** What the `n`th channel brings. */
  deliver(n: number, delivery: Delivery): void {
    const { steps } = delivery;
    if (steps !== undefined) {
      for (const step of steps) this.deliver(n, step);
      return;
    }
    const { entry } = delivery;
    this.#add(n, delivery.encodedFor(this.#wire), entry.id, delivery.isText);
    if (entry.kind !== 'producer_lost') return;
    this.#add(n, this.#controlOf(n, { type: 'producer_lost' }), entry.id);
  }

  control(n: number, notice: Notice, cursor: EntryId | undefined): void {
    this.#add(n, this.#controlOf(n, notice), cursor === BEFORE_ALL ? undefined : cursor);
  }

  /** The `n`th channel brings nothing more. */
  channelFinished(reason: 'ended' | 'unavailable'): void {
    if (reason === 'unavailable') {
      this.finish('unavailable');
      return;
    }
    this.#going--;
    this.#endWithTheLast();
  }

  override finish(reason: 'ended' | 'unavailable'): void {
    this.flush();
    super.finish(reason);
  }

  override sendAway(draining: boolean, retryMs: number): void {
    this.flush();
    super.sendAway(draining, retryMs);
  }

  /** Writes what is due. */
  flush(): void {
    if (this.#due.length === 0) return;
    const due = this.#due;
    this.#due = [];
    this.#dueBytes = 0;
    if (!this.isOver) this.say(this.#wire.together(due, this.#dueHasCursor ? undefined : this.#cursor));
  }

  protected leave(): void {
    for (const leave of this.#leaves.splice(0)) leave();
  }

  protected drainNotice(): T {
    return this.#wire.control({ type: 'server_draining' });
  }

  #controlOf(n: number, notice: ControlNotice): T {
    return this.#wire.channelControl(notice, this.#channels[n]?.id ?? '');
  }

  #add(n: number, chunk: T, id: EntryId | undefined, withCursor = false): void {
    this.#cursor.move(n, id);
    this.#dueHasCursor = withCursor;
    if (this.#due.length === 0) atTurnsEnd(this);
    for (const part of withCursor ? this.#wire.withCursor(chunk, this.#cursor) : [chunk]) {
      this.#due.push(part);
      this.#dueBytes += this.#wire.sizeOf(part);
    }
    if (this.#dueBytes >= MAX_DUE_BYTES) this.flush();
  }

  #endWithTheLast(): void {
    if (this.#going === 0 && !this.#beginning) this.finish('ended');
  }
}

/** Its reader of one channel. */
class ChannelReader<T> implements Reader<Delivery> {
  readonly #listener: ManyListener<T>;
  readonly #n: number;

  constructor(listener: ManyListener<T>, n: number) {
    this.#listener = listener;
    this.#n = n;
  }

  deliver(delivery: Delivery): void {
    this.#listener.deliver(this.#n, delivery);
  }

  control(notice: Notice, cursor: EntryId | undefined): void {
    this.#listener.control(this.#n, notice, cursor);
  }

  finish(reason: 'ended' | 'unavailable'): void {
    this.#listener.channelFinished(reason);
  }

  congested(): Promise<void> | undefined {
    return this.#listener.congested();
  }
}
