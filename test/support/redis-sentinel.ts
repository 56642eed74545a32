import { freePort } from './free-port.ts';
import { type RedisServer, type RedisServerOptions, startRedis } from './redis.ts';
import { until } from './until.ts';

/** A master, its replica, and a Sentinel that makes the replica master when the master is gone. */
export interface RedisSentinelServers extends AsyncDisposable {
  readonly master: RedisServer;
  readonly replica: RedisServer;
  readonly sentinel: RedisServer;
  /** The server that the Sentinel calls master at the moment. */
  masterNow(): Promise<RedisServer>;
  /** Names the Sentinel and the master, with the password. */
  readonly url: string;
  stop(): Promise<void>;
}

export interface SentinelOptions extends Pick<RedisServerOptions, 'args' | 'ownClock'> {
  /** How long a master may be silent before another takes over. */
  readonly downAfterMs?: number;
}

const MASTER_NAME = 'tideway';
const START_TIMEOUT_MS = 40_000;

export async function startRedisSentinel(
  password: string,
  { args = [], downAfterMs = 500, ...options }: SentinelOptions = {},
): Promise<RedisSentinelServers> {
  const started: RedisServer[] = [];
  const stop = async () => {
    await Promise.all(started.map((server) => server.stop()));
  };
  const start = async (own: RedisServerOptions) => {
    const server = await startRedis(own);
    started.push(server);
    return server;
  };
  try {
    const master = await start({ ...options, password, args: ['--repl-diskless-sync-delay', '0', ...args] });
    const replica = await start({
      ...options,
      password,
      args: ['--replicaof', '127.0.0.1', `${master.port}`, '--repl-diskless-sync-delay', '0', ...args],
    });
    const linked = async () => (await replica.admin.info('replication')).includes('master_link_status:up');
    await until('the replica follows', linked, START_TIMEOUT_MS);
    const sentinel = await start({
      sentinelConfig: [
        `sentinel monitor ${MASTER_NAME} 127.0.0.1 ${master.port} 1`,
        `sentinel auth-pass ${MASTER_NAME} ${password}`,
        `sentinel down-after-milliseconds ${MASTER_NAME} ${downAfterMs}`,
        `sentinel failover-timeout ${MASTER_NAME} 2000`,
      ],
    });
    const known = async () => (await sentinel.admin.info('sentinel')).includes('slaves=1');
    await until('the Sentinel knows the replica', known, START_TIMEOUT_MS);
    const url = `redis+sentinel://:${password}@127.0.0.1:${await unusedPort()},127.0.0.1:${sentinel.port}/${MASTER_NAME}`;
    const masterNow = async () => {
      const [, port] = (await sentinel.admin.call('SENTINEL', 'get-master-addr-by-name', MASTER_NAME)) as string[];
      const server = [master, replica].find((candidate) => `${candidate.port}` === port);
      if (server === undefined) throw new Error('the Sentinel knows no master');
      return server;
    };
    return { master, replica, sentinel, masterNow, url, stop, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

// The first Sentinel of the URL is away: clients have to ask the next.
const unusedPort = freePort;
