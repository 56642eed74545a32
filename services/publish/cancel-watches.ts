import { BrokerUnavailableError, type ChannelKey } from '#lib/broker/broker.ts';
import type { Decision, Decisions } from '#lib/broker/decisions.ts';

/** Channels that one {@link CancelWatch} may have; the one that it had first makes room. */
export const MAX_WATCHED_CHANNELS = 1_000;
/** Asked for in one go. */
const LOOK_CHANNELS = 500;
/** The broker was away: when to ask again. */
const LOOK_AGAIN_MS = 1_000;

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
  readonly #decisions: Decisions;
  readonly #onError: (error: unknown) => void;
  readonly #watches = new Map<ChannelKey, Set<CancelWatch>>();
  #openWatches = 0;
  /** To be looked up. */
  readonly #due = new Set<ChannelKey>();
  readonly #end: () => void;
  #looking = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(decisions: Decisions, onError: (error: unknown) => void) {
    this.#decisions = decisions;
    this.#onError = onError;
    this.#end = decisions.watch({
      onDecision: (decision) => this.#tell(decision),
      onDoubt: () => {
        for (const channel of this.#watches.keys()) this.#due.add(channel);
        this.#lookSoon();
      },
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
    clearTimeout(this.#timer);
    this.#watches.clear();
    this.#due.clear();
  }

  #add(channel: ChannelKey, watch: CancelWatch): void {
    const watches = this.#watches.get(channel);
    if (watches === undefined) this.#watches.set(channel, new Set([watch]));
    else watches.add(watch);
    this.#due.add(channel);
    this.#lookSoon();
  }

  #remove(channel: ChannelKey, watch: CancelWatch): void {
    const watches = this.#watches.get(channel);
    if (watches === undefined) return;
    watches.delete(watch);
    if (watches.size > 0) return;
    this.#watches.delete(channel);
    this.#due.delete(channel);
  }

  #tell(decision: Decision): void {
    if (decision.kind !== 'cancelled') return;
    // Who is told watches it no more, and may go.
    for (const watch of [...(this.#watches.get(decision.about as ChannelKey) ?? [])]) watch.tell(decision);
  }

  #lookSoon(): void {
    if (this.#looking || this.#due.size === 0) return;
    this.#looking = true;
    // Together with what else is watched in this turn.
    setImmediate(() => void this.#look());
  }

  async #look(): Promise<void> {
    clearTimeout(this.#timer);
    let asked: ChannelKey[] = [];
    try {
      while (this.#due.size > 0) {
        asked = [...this.#due].slice(0, LOOK_CHANNELS);
        // Before the answer: what falls due meanwhile is looked up once more.
        for (const channel of asked) this.#due.delete(channel);
        const found = await this.#decisions.find(asked.map((about) => ({ kind: 'cancelled', about })));
        for (const decision of found) if (decision !== undefined) this.#tell(decision);
      }
    } catch (error) {
      if (!(error instanceof BrokerUnavailableError)) this.#onError(error);
      for (const channel of asked) if (this.#watches.has(channel)) this.#due.add(channel);
      this.#timer = setTimeout(() => this.#lookSoon(), LOOK_AGAIN_MS).unref();
    } finally {
      this.#looking = false;
    }
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
