import { Cluster, Command, Redis } from 'ioredis';
import { BrokerUnavailableError, type ChannelKey, type Entry } from './broker.ts';
import type { RedisClient } from './redis-client.ts';
import type { RedisConnection } from './redis-connection.ts';
import { parseLiveEntry } from './redis-entry.ts';
import { channelKeys } from './redis-keys.ts';
import { redisOptions } from './redis-options.ts';
import { type ShardEvents, ShardSubscriber } from './redis-shard-subscriber.ts';

interface Subscription {
  readonly onEntry: (entry: Entry) => void;
  readonly slot: number;
  /** The server that is asked for it, by its key. */
  server: string | undefined;
  lost: boolean;
  onStanding: (() => void) | undefined;
}

const ONLY_SERVER = 'only';

/**
 * Live delivery by sharded pub/sub: one connection for each server that has channels which are listened to, whatever
 * their number. In a Cluster it follows the slots.
 */
export class RedisLive {
  readonly #connection: RedisConnection;
  readonly #timeoutMs: number;
  readonly #subscriptions = new Map<string, Subscription>();
  readonly #servers = new Map<string, ShardSubscriber>();
  readonly #onInterruption: (() => void)[] = [];
  readonly #events: ShardEvents;
  #announcing = false;
  #closed = false;

  constructor(connection: RedisConnection, timeoutMs: number) {
    this.#connection = connection;
    this.#timeoutMs = timeoutMs;
    this.#events = {
      onMessage: (live, message) => this.#deliver(live, message),
      onStanding: (standing) => this.#stand(standing),
      onLost: (lost) => {
        for (const live of lost) this.#markLost(live);
      },
      onRefused: () => this.#relearn(),
    };
    connection.whenOpen((client) => {
      if (client instanceof Cluster) client.on('refresh', () => this.#assignAll(client));
      this.#assignAll(client);
    });
  }

  /** @throws BrokerUnavailableError if the subscription doesn't stand in time */
  listen(channel: ChannelKey, onEntry: (entry: Entry) => void): Promise<() => void> {
    const { live } = channelKeys(channel);
    if (this.#closed) return Promise.reject(new BrokerUnavailableError('the broker is closed'));
    if (this.#subscriptions.has(live)) return Promise.reject(new Error('this channel is listened to already'));
    return new Promise((resolve, reject) => {
      const slot = new Command('get', [live]).getSlot();
      const subscription: Subscription = { onEntry, slot, server: undefined, lost: false, onStanding: undefined };
      const timer = setTimeout(() => {
        this.#forget(live, subscription);
        reject(new BrokerUnavailableError(`Redis did not answer within ${this.#timeoutMs} ms`));
      }, this.#timeoutMs);
      subscription.onStanding = () => {
        clearTimeout(timer);
        resolve(() => this.#forget(live, subscription));
      };
      this.#subscriptions.set(live, subscription);
      if (this.#connection.client) this.#assign(this.#connection.client, live, subscription);
    });
  }

  onInterruption(onInterruption: () => void): void {
    this.#onInterruption.push(onInterruption);
  }

  close(): void {
    this.#closed = true;
    for (const server of this.#servers.values()) server.close();
    this.#servers.clear();
    this.#subscriptions.clear();
  }

  #deliver(live: string, message: Buffer): void {
    const subscription = this.#subscriptions.get(live);
    if (!subscription) return;
    const entry = parseLiveEntry(message);
    if (entry) subscription.onEntry(entry);
  }

  #stand(standing: readonly string[]): void {
    for (const live of standing) {
      const subscription = this.#subscriptions.get(live);
      if (!subscription) continue;
      if (subscription.lost) this.#announce();
      subscription.lost = false;
      subscription.onStanding?.();
      subscription.onStanding = undefined;
    }
  }

  #markLost(live: string): void {
    const subscription = this.#subscriptions.get(live);
    if (subscription && !subscription.onStanding) subscription.lost = true;
  }

  #assignAll(client: RedisClient): void {
    for (const [live, subscription] of this.#subscriptions) this.#assign(client, live, subscription);
    for (const [key, server] of this.#servers) {
      if (server.size > 0) continue;
      server.close();
      this.#servers.delete(key);
    }
  }

  #assign(client: RedisClient, live: string, subscription: Subscription): void {
    const server = client instanceof Cluster ? client.slots[subscription.slot]?.[0] : ONLY_SERVER;
    if (server === undefined || server === subscription.server) return;
    if (subscription.server !== undefined) {
      this.#servers.get(subscription.server)?.unwant(live);
      this.#markLost(live);
    }
    subscription.server = server;
    this.#server(client, server).want(live);
  }

  #server(client: RedisClient, key: string): ShardSubscriber {
    const known = this.#servers.get(key);
    if (known) return known;
    const clustered = client instanceof Cluster;
    const { settings } = this.#connection;
    const colon = key.lastIndexOf(':');
    const address = clustered ? { host: key.slice(0, colon), port: Number(key.slice(colon + 1)) } : undefined;
    const redis = new Redis({ ...redisOptions(settings, address), enableAutoPipelining: false });
    const slotOf = clustered ? (live: string) => this.#subscriptions.get(live)?.slot ?? 0 : () => 0;
    const server = new ShardSubscriber(redis, slotOf, this.#events);
    this.#servers.set(key, server);
    return server;
  }

  #forget(live: string, subscription: Subscription): void {
    if (this.#subscriptions.get(live) !== subscription) return;
    this.#subscriptions.delete(live);
    if (subscription.server !== undefined) this.#servers.get(subscription.server)?.unwant(live);
  }

  #relearn(): void {
    const { client } = this.#connection;
    // Its `refresh` event assigns anew.
    if (client instanceof Cluster && !this.#closed) client.refreshSlotsCache();
  }

  // Many subscriptions stand again at once: one call for all of them.
  #announce(): void {
    if (this.#announcing) return;
    this.#announcing = true;
    setImmediate(() => {
      this.#announcing = false;
      for (const onInterruption of this.#onInterruption) onInterruption();
    });
  }
}
