import type { Redis } from 'ioredis';

export interface ShardEvents {
  /** A message on a pub/sub channel that is wanted. */
  readonly onMessage: (live: string, message: Buffer) => void;
  /** These subscriptions stand, for the first time or again. */
  readonly onStanding: (live: readonly string[]) => void;
  /** These stand no more, and messages may be lost until they do. */
  readonly onLost: (live: readonly string[]) => void;
  /** The server refuses subscriptions: another one may be responsible now. */
  readonly onRefused: () => void;
}

const RETRY_MS = 250;
const PING_INTERVAL_MS = 5000;
const BATCH = 100;

/**
 * The sharded subscriptions on one server, on a connection of their own. It holds what is wanted against what stands:
 * after a lost connection, a slot that went away or a refusal it subscribes again, until that is confirmed or no longer
 * wanted. Wherever it doubts one subscription it renews all: subscribing twice is harmless.
 */
export class ShardSubscriber {
  readonly #redis: Redis;
  readonly #events: ShardEvents;
  readonly #slotOf: (live: string) => number;
  readonly #wanted = new Set<string>();
  readonly #standing = new Set<string>();
  readonly #asked = new Set<string>();
  readonly #ping: NodeJS.Timeout;
  #retry: NodeJS.Timeout | undefined;

  /** One command takes only channels of the same slot; without a Cluster `slotOf` says the same for all. */
  constructor(redis: Redis, slotOf: (live: string) => number, events: ShardEvents) {
    this.#redis = redis;
    this.#slotOf = slotOf;
    this.#events = events;
    redis.on('ready', () => this.#sync());
    redis.on('close', () => this.#lose());
    redis.on('moved', () => {
      this.#lose();
      this.#refused();
    });
    // Reconnecting is the client's; what went wrong is told by the connection for commands.
    redis.on('error', () => undefined);
    redis.on('smessageBuffer', (live: Buffer, message: Buffer) => events.onMessage(live.toString('latin1'), message));
    // A silent connection may be dead: a ping makes the client's socket timeout see it.
    this.#ping = setInterval(() => {
      if (redis.status === 'ready') redis.ping().catch(() => undefined);
    }, PING_INTERVAL_MS).unref();
  }

  get size(): number {
    return this.#wanted.size;
  }

  want(live: string): void {
    this.#wanted.add(live);
    this.#sync();
  }

  unwant(live: string): void {
    if (!this.#wanted.delete(live)) return;
    this.#standing.delete(live);
    this.#asked.delete(live);
    // Also where it is in doubt: the server may still have it.
    if (this.#redis.status === 'ready') this.#redis.sunsubscribe(live).catch(() => undefined);
  }

  close(): void {
    clearInterval(this.#ping);
    clearTimeout(this.#retry);
    this.#wanted.clear();
    this.#redis.disconnect();
  }

  #sync(): void {
    if (this.#redis.status !== 'ready') return;
    const bySlot = new Map<number, string[]>();
    for (const live of this.#wanted) {
      if (this.#standing.has(live) || this.#asked.has(live)) continue;
      const slot = this.#slotOf(live);
      const batch = bySlot.get(slot);
      if (batch) batch.push(live);
      else bySlot.set(slot, [live]);
    }
    for (const channels of bySlot.values()) {
      for (let at = 0; at < channels.length; at += BATCH) this.#ask(channels.slice(at, at + BATCH));
    }
  }

  #ask(batch: string[]): void {
    for (const live of batch) this.#asked.add(live);
    this.#redis.ssubscribe(...batch).then(
      () => {
        // What was asked and is asked no more was given up, or lost with the connection, meanwhile.
        const standing = batch.filter((live) => this.#asked.delete(live));
        for (const live of standing) this.#standing.add(live);
        this.#events.onStanding(standing);
      },
      () => {
        for (const live of batch) this.#asked.delete(live);
        this.#refused();
      },
    );
  }

  #refused(): void {
    this.#events.onRefused();
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#sync(), RETRY_MS);
  }

  #lose(): void {
    this.#standing.clear();
    this.#asked.clear();
    this.#events.onLost([...this.#wanted]);
  }
}
