import { Cluster, Redis } from 'ioredis';
import { BrokerUnavailableError } from './broker.ts';
import { defineScripts, type RedisClient } from './redis-client.ts';
import { type ConnectionSettings, clusterOptions, redisOptions } from './redis-options.ts';

/**
 * The connection for commands. It keeps trying for as long as it is not closed, and finds out whether the one server of
 * a plain URL is a Cluster's node.
 */
export class RedisConnection {
  /** What to send commands to; undefined until the first server answered. */
  client: RedisClient | undefined;
  /** What went wrong last, until the next success. Nothing secret. */
  problem: Error | undefined;
  readonly settings: ConnectionSettings;
  readonly #onClient = new Set<(client: RedisClient) => void>();
  #connecting: RedisClient | undefined;
  #closed = false;

  constructor(settings: ConnectionSettings) {
    this.settings = settings;
    if (settings.target.kind === 'cluster') this.#openCluster(settings.target.seeds);
    else this.#openRedis();
  }

  /** Calls `onClient` when there is a client, now or later. */
  whenOpen(onClient: (client: RedisClient) => void): void {
    if (this.client) onClient(this.client);
    else this.#onClient.add(onClient);
  }

  /** The client, as soon as there is one. @throws BrokerUnavailableError after `timeoutMs` */
  open(timeoutMs: number): Promise<RedisClient> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#onClient.delete(onClient);
        reject(new BrokerUnavailableError('Redis is not available'));
      }, timeoutMs);
      const onClient = (client: RedisClient) => {
        clearTimeout(timer);
        resolve(client);
      };
      this.whenOpen(onClient);
    });
  }

  close(): void {
    this.#closed = true;
    this.#onClient.clear();
    this.#connecting?.disconnect();
    this.client?.disconnect();
  }

  #openRedis(): void {
    const redis = new Redis(redisOptions(this.settings));
    this.#watch(redis);
    redis.on('ready', () => {
      if (this.client || this.#connecting !== redis) return;
      if (this.settings.target.kind === 'sentinel') {
        this.#open(redis);
        return;
      }
      isClusterNode(redis).then(
        (clustered) => {
          if (this.client || this.#closed) return;
          if (!clustered || this.settings.target.kind !== 'single') return this.#open(redis);
          this.#openCluster([this.settings.target.address]);
          redis.disconnect();
        },
        // The connection is gone again; the next `ready` asks again.
        () => undefined,
      );
    });
  }

  #openCluster(seeds: readonly { host: string; port: number }[]): void {
    const options = clusterOptions(this.settings);
    let masters: readonly { host: string; port: number }[] = [];
    const cluster = new Cluster([...seeds], {
      ...options,
      // Where all connections were lost, the Cluster is looked for at the URL, and each second time at its masters, too: the one
      // server of the URL may stand still. All are asked in any order, and the masters may be gone, or another Cluster's by now.
      clusterRetryStrategy(this: { startupNodes: { host: string; port: number }[] }, attempt: number) {
        this.startupNodes = attempt % 2 === 1 ? [...seeds] : [...seeds, ...masters];
        return options.clusterRetryStrategy(attempt);
      },
    });
    cluster.on('refresh', () => {
      masters = cluster.nodes('master').map(({ options: { host = '', port = 0 } }) => ({ host, port }));
    });
    // Of those that are left none may answer, and nobody else would be asked until their silent connections end. Where most are
    // left a replica may be taking over, and what is on its way to others must not fail.
    const isLost = () => {
      const left = cluster.nodes('master').length;
      return cluster.status === 'ready' && cluster.nodes().length > 0 && 2 * left < masters.length;
    };
    cluster.on('-node', () => {
      if (!isLost()) return;
      cluster.refreshSlotsCache((error) => {
        if (error && isLost()) cluster.disconnect(true);
      });
    });
    this.#watch(cluster);
    // While there is a Cluster, what is for a server that is being connected to waits for it; otherwise the client would ask any
    // other 100 ms later, in no order, and wait for that one's redirection: also if it stands still. Without a Cluster nothing
    // waits here: that is done before commands are handed over, where it is bounded and has a deadline.
    cluster.on('ready', () => {
      cluster.options.enableOfflineQueue = true;
    });
    cluster.on('close', () => {
      cluster.options.enableOfflineQueue = false;
    });
    cluster.once('ready', () => this.#open(cluster));
  }

  #watch(client: RedisClient): void {
    this.#connecting = client;
    client.on('error', (error: Error) => {
      this.problem = error;
    });
    client.on('ready', () => {
      this.problem = undefined;
    });
  }

  #open(client: RedisClient): void {
    if (this.#closed) return;
    defineScripts(client);
    this.client = client;
    const waiting = [...this.#onClient];
    this.#onClient.clear();
    for (const onClient of waiting) onClient(client);
  }
}

async function isClusterNode(redis: Redis): Promise<boolean> {
  try {
    return /^cluster_enabled:1\r?$/m.test(await redis.info('cluster'));
  } catch (error) {
    // A user without INFO: then it is what the URL says.
    if (error instanceof Error && error.message.startsWith('NOPERM')) return false;
    throw error;
  }
}
