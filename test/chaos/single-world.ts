import { setTimeout as delay } from 'node:timers/promises';
import { openSmallDisk } from '../support/chaos-disk.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { startRedisProxy } from '../support/redis-proxy.ts';
import { until } from '../support/until.ts';
import type { Fault } from './plan.ts';
import { command, inTime, type RedisWorld } from './redis-world.ts';

const DISK_BYTES = 256 * 1024 * 1024;

/**
 * What operations.md tells to do after a full disk. A file that was written in between once had zeros where a write had been
 * cut short (Redis 7.0), and a Redis that is killed then does not start again.
 */
async function rewriteFile(redis: RedisServer): Promise<void> {
  await command(redis, 'BGREWRITEAOF');
  // Where another child of Redis is at work it waits for that one.
  const isDone = async () => {
    const info = await inTime(redis.admin.info('persistence'));
    return info.includes('aof_rewrite_in_progress:0') && info.includes('aof_rewrite_scheduled:0');
  };
  await until('the appendonly file is written anew', isDone);
}

/** One server with appendonly on a small disk, behind a network that can be cut, silenced and slowed down. */
export async function startSingleWorld(): Promise<RedisWorld> {
  // Where a later part does not start, the earlier ones end.
  await using starting = new AsyncDisposableStack();
  const disk = await openSmallDisk(DISK_BYTES);
  starting.defer(() => disk?.stop());
  const redis = await startRedis({
    ownClock: true,
    args: ['--appendonly', 'yes', '--auto-aof-rewrite-min-size', '8mb'],
    ...(disk === undefined ? {} : { dir: disk.dir }),
  });
  starting.use(redis);
  const proxy = await startRedisProxy(redis.port);
  starting.defer(() => proxy.stop());
  const effects: Record<string, (fault: Fault) => Promise<void>> = {
    'redis killed': async ({ forMs }) => {
      await redis.kill();
      await delay(forMs);
      await redis.restart();
    },
    'redis paused': async ({ forMs }) => {
      redis.pause();
      await delay(forMs);
      redis.resume();
    },
    'redis out of memory': async ({ forMs }) => {
      await command(redis, 'CONFIG', 'SET', 'maxmemory', '1');
      await delay(forMs);
      await command(redis, 'CONFIG', 'SET', 'maxmemory', '0');
    },
    'disk full': async ({ forMs }) => {
      disk?.fill();
      await delay(forMs);
      disk?.free();
      // It looks again once a second.
      await delay(1_500);
      await rewriteFile(redis);
    },
    'pub/sub killed': () => command(redis, 'CLIENT', 'KILL', 'TYPE', 'pubsub'),
    'pub/sub cut': async () => proxy.cut('subscribers'),
    'connections cut': async () => proxy.cut('all'),
    'pub/sub silent': async ({ forMs }) => {
      proxy.silenceSubscribers();
      await delay(forMs);
      proxy.heal();
    },
    'network slow': async ({ forMs, choice }) => {
      proxy.delayBy(5 + (choice % 300));
      await delay(forMs);
      proxy.delayBy(0);
    },
  };
  const started = starting.move();
  return {
    url: proxy.url,
    servers: [redis],
    groups: [
      {
        name: 'redis',
        kinds: ['redis killed', 'redis paused', 'redis out of memory', ...(disk === undefined ? [] : ['disk full'])],
        everyMs: [4_000, 9_000],
        forMs: [200, 4_000],
      },
      {
        name: 'network',
        kinds: ['pub/sub killed', 'pub/sub cut', 'connections cut', 'pub/sub silent', 'network slow'],
        everyMs: [1_500, 5_000],
        forMs: [300, 4_000],
      },
    ],
    breakBy: async (fault) => effects[fault.kind]?.(fault),
    serverOf: async () => redis,
    notes: disk === undefined ? ['mounting is not permitted here: no disk fills, only memory'] : [],
    stop: () => started.disposeAsync(),
  };
}
