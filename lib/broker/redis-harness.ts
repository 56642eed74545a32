import { setTimeout as delay } from 'node:timers/promises';
import type { Cluster, Redis } from 'ioredis';
import { until } from '../../test/support/until.ts';
import type { ChannelKey, Retention } from './broker.ts';
import type { BrokerHarness } from './broker-harness.ts';
import { createRedisBroker } from './redis-broker.ts';
import { activityKey, activityShard, channelKeys, snapshotKeys } from './redis-keys.ts';

/** What the harness reaches around the broker with. */
export interface RedisUnderTest {
  readonly url: string;
  /** For keys, wherever they are. */
  readonly keys: Redis | Cluster;
  /** The servers that can be subscribed at. */
  readonly servers: readonly Redis[];
}

/** A broker on real Redis for the contract suite. Time passes for expiry by moving the TTLs of the keys. */
export function openRedisHarness({ url, keys, servers }: RedisUnderTest, retention: Retention): BrokerHarness {
  const broker = createRedisBroker({ url, retention, reportIntervalMs: 50 });
  let interruptions = 0;
  let elapsedMs = 0;
  broker.onInterruption(() => {
    interruptions += 1;
  });
  const ttlNowMs = () => Date.now() + elapsedMs;
  return {
    broker,
    nowMs: Date.now,
    ttlNowMs,
    wait: async (ms) => {
      await delay(ms);
    },
    elapse: async (ms, channels) => {
      elapsedMs += ms;
      for (const key of channels.flatMap(keysOf)) {
        const ttlMs = await keys.pttl(key);
        if (ttlMs > ms) await keys.pexpire(key, ttlMs - ms);
        else if (ttlMs >= 0) await keys.del(key);
      }
    },
    cutLive: async () => {
      const before = interruptions;
      for (const server of servers) await server.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
      await until('live delivery stands again', () => interruptions > before);
    },
    save: async (channels) => {
      const saved: { key: string; dump: Buffer | null; expiresMs: number | undefined }[] = [];
      const names = channels.flatMap((channel) => [...keysOf(channel), activityKey(activityShard(channel))]);
      for (const key of new Set(names)) {
        const ttlMs = await keys.pttl(key);
        const expiresMs = ttlMs < 0 ? undefined : ttlNowMs() + ttlMs;
        saved.push({ key, dump: await keys.dumpBuffer(key), expiresMs });
      }
      return async () => {
        for (const { key, dump, expiresMs } of saved) {
          const ttlMs = expiresMs === undefined ? 0 : expiresMs - ttlNowMs();
          if (dump && ttlMs >= 0) await keys.restore(key, ttlMs, dump, 'REPLACE');
          else await keys.del(key);
        }
      };
    },
    close: () => broker.close(),
  };
}

function keysOf(channel: ChannelKey): string[] {
  const { log, index, seal } = channelKeys(channel);
  const { text, pieces } = snapshotKeys(channel);
  return [log, index, seal, text, pieces];
}
