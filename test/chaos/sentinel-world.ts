import { setTimeout as delay } from 'node:timers/promises';
import type { RedisServer } from '../support/redis.ts';
import { startRedisSentinel } from '../support/redis-sentinel.ts';
import { until } from '../support/until.ts';
import type { Fault } from './plan.ts';
import { command, inTime, networkCuts, type RedisWorld } from './redis-world.ts';

const WHOLE_DEADLINE_MS = 30_000;
const FAILOVER_DEADLINE_MS = 15_000;
/** On a busy machine a primary is silent for a moment now and then: that must not be most of what happens. */
const DOWN_AFTER_MS = 1_500;

/** A primary and its replica, both with appendonly, and a Sentinel that makes one of the other. */
export async function startSentinelWorld(): Promise<RedisWorld> {
  const redis = await startRedisSentinel('sesame', {
    args: ['--appendonly', 'yes'],
    ownClock: true,
    downAfterMs: DOWN_AFTER_MS,
  });
  const servers = [redis.master, redis.replica];
  const primary = () => inTime(redis.masterNow());
  const otherThan = (server: RedisServer) => servers.find((other) => other !== server) as RedisServer;
  const untilWhole = () =>
    until(
      'the replica follows the primary',
      async () => {
        const replica = otherThan(await primary());
        const info = await inTime(replica.admin.info('replication'));
        return info.includes('role:slave') && info.includes('master_link_status:up');
      },
      WHOLE_DEADLINE_MS,
    );
  const untilFailedOver = (from: RedisServer) =>
    until('the replica took over', async () => (await primary()) !== from, FAILOVER_DEADLINE_MS);

  const network = networkCuts(primary);
  const effects: Record<string, (fault: Fault) => Promise<void>> = {
    ...network.effects,
    'primary killed': async ({ forMs }) => {
      const killed = await primary();
      await killed.kill();
      // A replica whose clock leapt may say that it has been alone for an hour: then Sentinel takes it for too old, and only
      // the primary itself ends that.
      await untilFailedOver(killed).catch(() => undefined);
      await delay(forMs);
      await killed.restart();
      await untilWhole();
    },
    'failover asked for': async () => {
      await command(redis.sentinel, 'SENTINEL', 'FAILOVER', 'tideway');
      await delay(1_000);
      await untilWhole();
    },
    // Longer than the Sentinel waits: for a while there are two that take writes.
    'primary paused': async ({ forMs }) => {
      const paused = await primary();
      paused.pause();
      await delay(forMs);
      paused.resume();
      await untilWhole();
    },
    'replica paused': async ({ forMs }) => {
      const paused = otherThan(await primary());
      paused.pause();
      await delay(forMs);
      paused.resume();
      await untilWhole();
    },
  };
  return {
    url: redis.url,
    servers,
    groups: [
      {
        name: 'redis',
        kinds: ['primary killed', 'failover asked for', 'primary paused', 'replica paused'],
        everyMs: [3_000, 6_000],
        forMs: [200, 4_000],
      },
      network.group,
    ],
    breakBy: async (fault) => effects[fault.kind]?.(fault),
    async serverOf() {
      const server = await primary();
      const [role] = (await inTime(server.admin.role())) as [string];
      if (role !== 'master') throw new Error('the primary does not know yet that it is');
      return server;
    },
    notes: [],
    stop: () => redis.stop(),
  };
}
