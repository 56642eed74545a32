import type { ChannelKey } from '#lib/broker/broker.ts';
import type { Decision, Decisions } from '#lib/broker/decisions.ts';
import { Lookups } from '#lib/broker/lookups.ts';

/**
 * Channels that one {@link CancelWatch} may have; the one that it had first makes room. That costs a look at the broker for
 * every message of a call that goes round in more channels than these.
 */
export const MAX_WATCHED_CHANNELS = 10_000;
/** Once all of them together have so many, each may have {@link MAX_WATCHED_CHANNELS_WHEN_FULL}. */
export const MAX_ALL_WATCHED_CHANNELS = 100_000;
export const MAX_WATCHED_CHANNELS_WHEN_FULL = 1_000;

/** A channel that a listener has cancelled. */
export interface Cancelled {
  /** In lower case. */
  readonly channelId: string;
  readonly reason: string;
}

/**
 * What every call of a process watches for cancellations. A channel is looked up when it is watched first, and whenever
 * something may have been missed; what comes between is told.
 */
export class CancelWatches {
  // Nearly every channel has one: a set for each would be most of the memory.
  readonly #watches = new Map<ChannelKey, CancelWatch | Set<CancelWatch>>();
  readonly #lookups: Lookups<ChannelKey>;
  readonly #end: () => void;
  #openWatches = 0;

  constructor(decisions: Decisions, onError: (error: unknown) => void) {
    this.#lookups = new Lookups(async (channels) => {
      const found = await decisions.find(channels.map((about) => ({ kind: 'cancelled', about })));
      for (const decision of found) if (decision !== undefined) this.#tell(decision);
    }, onError);
    this.#end = decisions.watch({
      onDecision: (decision) => this.#tell(decision),
      onDoubt: () => this.#lookups.addAll(this.#watches.keys()),
    });
  }

  /** @param onCancelled There is something to {@link CancelWatch.take}. */
  watch(onCancelled: () => void): CancelWatch {
    this.#openWatches += 1;
    return new CancelWatch(onCancelled, {
      add: (channel, watch) => this.#add(channel, watch),
      remove: (channel, watch) => this.#remove(channel, watch),
      isFull: () => this.#watches.size >= MAX_ALL_WATCHED_CHANNELS,
      closed: () => {
        this.#openWatches -= 1;
      },
    });
  }

  /** How many are open. */
  get open(): number {
    return this.#openWatches;
  }

  /** How many channels are watched. */
  get channels(): number {
    return this.#watches.size;
  }

  close(): void {
    this.#end();
    this.#lookups.close();
    this.#watches.clear();
  }

  #add(channel: ChannelKey, watch: CancelWatch): void {
    const watching = this.#watches.get(channel);
    if (watching === undefined) this.#watches.set(channel, watch);
    else if (watching instanceof Set) watching.add(watch);
    else if (watching !== watch) this.#watches.set(channel, new Set([watching, watch]));
    this.#lookups.add(channel);
  }

  #remove(channel: ChannelKey, watch: CancelWatch): void {
    const watching = this.#watches.get(channel);
    if (watching instanceof Set) {
      watching.delete(watch);
      if (watching.size > 0) return;
    } else if (watching !== watch) return;
    this.#watches.delete(channel);
    this.#lookups.forget(channel);
  }

  #tell(decision: Decision): void {
    if (decision.kind !== 'cancelled') return;
    const watching = this.#watches.get(decision.about as ChannelKey);
    // Who is told watches it no more, and may go.
    if (watching instanceof Set) for (const watch of [...watching]) watch.tell(decision);
    else watching?.tell(decision);
  }
}

interface Registry {
  add(channel: ChannelKey, watch: CancelWatch): void;
  remove(channel: ChannelKey, watch: CancelWatch): void;
  isFull(): boolean;
  closed(): void;
}

/** What one call watches. Each channel is told once. */
export class CancelWatch {
  readonly #onCancelled: () => void;
  readonly #registry: Registry;
  readonly #channels = new Set<ChannelKey>();
  readonly #told = new Set<ChannelKey>();
  #cancelled: Cancelled[] = [];
  #isClosed = false;

  constructor(onCancelled: () => void, registry: Registry) {
    this.#onCancelled = onCancelled;
    this.#registry = registry;
  }

  /** From now on this channel, also if it is cancelled already. */
  add(channel: ChannelKey): void {
    if (this.#isClosed || this.#channels.has(channel) || this.#told.has(channel)) return;
    if (this.#channels.size >= MAX_WATCHED_CHANNELS_WHEN_FULL) this.#makeRoom();
    this.#channels.add(channel);
    this.#registry.add(channel, this);
  }

  #makeRoom(): void {
    const max = this.#registry.isFull() ? MAX_WATCHED_CHANNELS_WHEN_FULL : MAX_WATCHED_CHANNELS;
    if (this.#channels.size < max) return;
    // Two: it shrinks to what it may have, and no single message pays for that.
    let toGo = this.#channels.size > max ? 2 : 1;
    for (const channel of this.#channels) {
      if (toGo-- === 0) return;
      this.remove(channel);
    }
  }

  /** No more of this one. */
  remove(channel: ChannelKey): void {
    this.#told.delete(channel);
    if (this.#channels.delete(channel)) this.#registry.remove(channel, this);
  }

  /** How many are watched and not cancelled. */
  get size(): number {
    return this.#channels.size;
  }

  /** What was cancelled since it was asked last. */
  take(): Cancelled[] {
    const cancelled = this.#cancelled;
    if (cancelled.length > 0) this.#cancelled = [];
    return cancelled;
  }

  tell({ about, detail }: Decision): void {
    const channel = about as ChannelKey;
    this.remove(channel);
    const [first] = this.#told;
    if (this.#told.size >= MAX_WATCHED_CHANNELS && first !== undefined) this.#told.delete(first);
    this.#told.add(channel);
    this.#cancelled.push({ channelId: channel.slice(channel.indexOf(':') + 1), reason: detail });
    this.#onCancelled();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const channel of this.#channels) this.#registry.remove(channel, this);
    this.#channels.clear();
    this.#registry.closed();
  }
}
