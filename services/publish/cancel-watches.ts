import type { ChannelKey } from '#lib/broker/broker.ts';
import type { Decision, Decisions } from '#lib/broker/decisions.ts';
import { Lookups } from '#lib/broker/lookups.ts';

/** Channels that one {@link CancelWatch} may have; the one that it had first makes room. */
export const MAX_WATCHED_CHANNELS = 1_000;
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
  readonly #watches = new Map<ChannelKey, Set<CancelWatch>>();
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
    const watches = this.#watches.get(channel);
    if (watches === undefined) this.#watches.set(channel, new Set([watch]));
    else watches.add(watch);
    this.#lookups.add(channel);
  }

  #remove(channel: ChannelKey, watch: CancelWatch): void {
    const watches = this.#watches.get(channel);
    if (watches === undefined) return;
    watches.delete(watch);
    if (watches.size > 0) return;
    this.#watches.delete(channel);
    this.#lookups.forget(channel);
  }

  #tell(decision: Decision): void {
    if (decision.kind !== 'cancelled') return;
    // Who is told watches it no more, and may go.
    for (const watch of [...(this.#watches.get(decision.about as ChannelKey) ?? [])]) watch.tell(decision);
  }
}

interface Registry {
  add(channel: ChannelKey, watch: CancelWatch): void;
  remove(channel: ChannelKey, watch: CancelWatch): void;
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
    const [first] = this.#channels;
    if (this.#channels.size >= MAX_WATCHED_CHANNELS && first !== undefined) this.remove(first);
    this.#channels.add(channel);
    this.#registry.add(channel, this);
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
