import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import type { ClusterOptions, DNSLookupFunction, RedisOptions } from 'ioredis';
import type { RedisAddress, RedisTarget } from './redis-url.ts';

export interface RedisTlsOptions {
  readonly caFile?: string | undefined;
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
  /** The name to expect in the server's certificate, where that isn't the host in the URL. */
  readonly serverName?: string | undefined;
}

/** How connections of the broker behave; the same for commands and for subscriptions. */
export interface ConnectionSettings {
  readonly target: RedisTarget;
  readonly tls: ConnectionOptions | undefined;
  readonly sentinelUsername: string | undefined;
  readonly sentinelPassword: string | undefined;
  readonly commandTimeoutMs: number;
}

const CONNECT_TIMEOUT_MS = 3000;
const MAX_RECONNECT_DELAY_MS = 1000;
const MIN_REFRESH_TIMEOUT_MS = 250;
const GOODBYE_TIMEOUT_MS = 100;

/** @throws Error, with the file's name in it, where a file can't be read. */
export function readTls(target: RedisTarget, options: RedisTlsOptions): ConnectionOptions | undefined {
  if (!target.tls) return undefined;
  return {
    ...(options.caFile === undefined ? {} : { ca: readFileSync(options.caFile) }),
    ...(options.certFile === undefined ? {} : { cert: readFileSync(options.certFile) }),
    ...(options.keyFile === undefined ? {} : { key: readFileSync(options.keyFile) }),
    ...(options.serverName === undefined ? {} : { servername: options.serverName }),
  };
}

/** For a server that is not a Cluster, or for one node of a Cluster where `address` is given. */
export function redisOptions(settings: ConnectionSettings, address?: RedisAddress): Omit<RedisOptions, 'replyMapping'> {
  const { target } = settings;
  const common = {
    ...commonOptions(settings),
    retryStrategy: reconnectDelayMs,
    // A server that turns out to be a replica was demoted: connect again, by then to the master.
    reconnectOnError: (error: Error) => (error.message.startsWith('READONLY') ? 1 : false),
  };
  if (address) return { ...common, ...address };
  if (target.kind === 'sentinel') {
    return {
      ...common,
      sentinels: target.sentinels.map(({ host, port }) => ({ host, port })),
      name: target.master,
      db: target.db,
      sentinelRetryStrategy: reconnectDelayMs,
      sentinelCommandTimeout: settings.commandTimeoutMs,
      ...(settings.sentinelUsername === undefined ? {} : { sentinelUsername: settings.sentinelUsername }),
      ...(settings.sentinelPassword === undefined ? {} : { sentinelPassword: settings.sentinelPassword }),
      ...(settings.tls ? { sentinelTLS: settings.tls, enableTLSForSentinelMode: true } : {}),
    };
  }
  if (target.kind === 'single') return { ...common, ...target.address, db: target.db };
  return common;
}

export function clusterOptions(settings: ConnectionSettings) {
  return {
    // A server that stands still says no goodbye; until then the Cluster is not looked for anew.
    redisOptions: { ...commonOptions(settings), disconnectTimeout: GOODBYE_TIMEOUT_MS },
    enableAutoPipelining: true,
    // It asks any master whether all of them serve, and waits for that one: for as long as it stands still nothing would begin.
    enableReadyCheck: false,
    clusterRetryStrategy: reconnectDelayMs,
    // A node that stands still must not use up the time of what waits for the Cluster: the next one is asked then.
    slotsRefreshTimeout: Math.max(MIN_REFRESH_TIMEOUT_MS, settings.commandTimeoutMs / 4),
    slotsRefreshInterval: 5000,
    // Certificates name hosts; and the library would look up all names before it asks any server: one that is no more, or not
    // there now, would keep it from the others, for ever. So each connection looks up its own.
    dnsLookup: keepName,
  } satisfies ClusterOptions;
}

function commonOptions(settings: ConnectionSettings) {
  const { target } = settings;
  return {
    connectionName: 'tideway',
    connectTimeout: CONNECT_TIMEOUT_MS,
    keepAlive: 10_000,
    // A connection on which nothing comes back for so long is dead, whatever TCP says.
    socketTimeout: 2 * settings.commandTimeoutMs,
    // Whoever repeats a publish does it knowingly: commands of a lost connection fail at once.
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    enableAutoPipelining: true,
    ...(target.username === undefined ? {} : { username: target.username }),
    ...(target.password === undefined ? {} : { password: target.password }),
    ...(settings.tls ? { tls: settings.tls } : {}),
  } satisfies RedisOptions;
}

const keepName: DNSLookupFunction = (host, callback) => callback(null, host);

function reconnectDelayMs(attempt: number): number {
  const delayMs = Math.min(25 * 2 ** Math.min(attempt, 10), MAX_RECONNECT_DELAY_MS);
  return delayMs * (0.5 + Math.random() / 2);
}
