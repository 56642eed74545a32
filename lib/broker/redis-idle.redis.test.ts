import { setTimeout as delay } from 'node:timers/promises';
import { Command } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { RedisServer } from '../../test/support/redis.ts';
import { type RedisClusterServers, startRedisCluster } from '../../test/support/redis-cluster.ts';
import { until } from '../../test/support/until.ts';
import { type Broker, BrokerUnavailableError, type ChannelKey } from './broker.ts';
import { newChannel, newMessage } from './broker-harness.ts';
import { RedisActivity } from './redis-activity.ts';
import { createRedisBroker, type RedisBrokerOptions } from './redis-broker.ts';
import { RedisCommands } from './redis-commands.ts';
import { publishes, redisForEachTest } from './redis-fixture.ts';
import { ACTIVITY_SHARDS, activityKey, activityShard, channelKeys, SETTINGS_KEY } from './redis-keys.ts';
import { connectTo } from './redis-place.ts';

const IDLE_MS = 50;
const CHANNELS = 60;

describe('a Cluster of which a master is away', () => {
  let servers: RedisClusterServers;
  const brokers: Broker[] = [];
  beforeAll(async () => {
    // Nobody takes over, and the others serve what is theirs.
    servers = await startRedisCluster({ args: ['--cluster-require-full-coverage', 'no'] });
  });
  afterEach(async () => {
    for (const master of servers.masters) master.resume();
    await Promise.all(brokers.splice(0).map((broker) => broker.close()));
    await until('all are back, and take writes', async () => {
      const infos = await Promise.all(servers.masters.map(({ admin }) => admin.cluster('INFO')));
      const nodes = await Promise.all(servers.masters.map(({ admin }) => admin.cluster('NODES')));
      return infos.every((info) => /cluster_state:ok/.test(`${info}`)) && !nodes.some((each) => /fail/.test(`${each}`));
    });
    for (const master of servers.masters) await master.admin.flushall();
  });
  afterAll(() => servers.stop());

  function open(options: Partial<RedisBrokerOptions> = {}): Broker {
    const broker = createRedisBroker({ url: servers.url, commandTimeoutMs: 1_500, reportIntervalMs: 50, ...options });
    brokers.push(broker);
    return broker;
  }

  /** The master of a key. None takes over for another here. */
  function homeOf(key: string): RedisServer {
    const home = servers.masters[Math.floor((new Command('get', [key]).getSlot() * servers.masters.length) / 16_384)];
    if (home === undefined) throw new Error('no home');
    return home;
  }

  function homesOf(channel: ChannelKey): { log: RedisServer; index: RedisServer } {
    return { log: homeOf(channelKeys(channel).log), index: homeOf(activityKey(activityShard(channel))) };
  }

  async function areIn(channels: readonly ChannelKey[]): Promise<boolean> {
    const scores = await Promise.all(
      channels.map((channel) => homesOf(channel).index.admin.zscore(activityKey(activityShard(channel)), channel)),
    );
    return scores.every((score) => score !== null);
  }

  /** Those for which all that is needed to end them is elsewhere. */
  function apartFrom(silent: RedisServer, channels: readonly ChannelKey[]): ChannelKey[] {
    return channels.filter((channel) => homesOf(channel).log !== silent && homesOf(channel).index !== silent);
  }

  /** As the cleanup service does it. */
  async function pass(
    broker: Broker,
    step: number,
  ): Promise<{ ended: ChannelKey[]; problems: unknown[]; steps: number }> {
    const ended: ChannelKey[] = [];
    const problems: unknown[] = [];
    let steps = 0;
    for (let examined = step; examined >= step; steps += 1) {
      const result = await broker.endIdle(IDLE_MS, step);
      examined = result.examined;
      ended.push(...result.ended);
      if (result.problem) problems.push(result.problem);
    }
    return { ended, problems, steps };
  }

  async function idleChannels(broker: Broker, count: number): Promise<ChannelKey[]> {
    const channels = Array.from({ length: count }, newChannel);
    await Promise.all(channels.map((channel) => publishes(broker, channel)));
    await until('they are reported', () => areIn(channels));
    await delay(2 * IDLE_MS);
    return channels;
  }

  test.each([0, 1, 2])('master %i: the others\u2019 idle streams are ended, its own by a later pass', async (n) => {
    const broker = open();
    const channels = await idleChannels(broker, CHANNELS);
    const silent = servers.masters[n] as RedisServer;
    const healthy = apartFrom(silent, channels);
    expect(healthy.length).toBeGreaterThan(0);
    expect(healthy.length).toBeLessThan(CHANNELS);
    silent.pause();
    const first = await pass(broker, 500);
    expect(first.ended.sort()).toEqual([...healthy].sort());
    expect(first.problems[0]).toBeInstanceOf(BrokerUnavailableError);
    // Also once its connection is gone.
    const later = await pass(broker, 500);
    expect(later.ended).toEqual([]);
    silent.resume();
    // What it was asked before it stood still it may have done since, and nobody was answered.
    await until('all are ended', async () => {
      await pass(broker, 500);
      return (await broker.tails(channels)).every((tail) => tail?.sealedBy !== undefined);
    });
  });

  test('what can\u2019t be decided hides nothing behind it, however little a step takes', async () => {
    const broker = open({ commandTimeoutMs: 1_000 });
    const channels = await idleChannels(broker, CHANNELS);
    const silent = servers.masters[1] as RedisServer;
    const healthy = apartFrom(silent, channels);
    silent.pause();
    const { ended, steps } = await pass(broker, 4);
    expect(ended.sort()).toEqual([...healthy].sort());
    expect(steps).toBeLessThanOrEqual(Math.ceil(healthy.length / 4) + 1);
  });

  test('activity is reported to the others, also where the settings are away; what could not be is repeated', async () => {
    const silent = homeOf(SETTINGS_KEY);
    const broker = open();
    // So that it is connected with all of them.
    await Promise.all(Array.from({ length: 20 }, () => publishes(broker, newChannel())));
    const channels: ChannelKey[] = [];
    const healthy: ChannelKey[] = [];
    const concerned: ChannelKey[] = [];
    while (healthy.length < 5 || concerned.length < 5) {
      const channel = newChannel();
      const { log, index } = homesOf(channel);
      if (log === silent) continue;
      channels.push(channel);
      (index === silent ? concerned : healthy).push(channel);
    }
    silent.pause();
    await Promise.all(channels.map((channel) => publishes(broker, channel)));
    await until('the others have it', () => areIn(healthy));
    // More of it, while the reports of before are under way.
    await Promise.all(channels.map((channel) => publishes(broker, channel)));
    silent.resume();
    await until('all have it', () => areIn(channels));
  });

  test('none answers: it says so', async () => {
    const broker = open({ commandTimeoutMs: 1_000 });
    await idleChannels(broker, 5);
    for (const master of servers.masters) master.pause();
    await expect(broker.endIdle(IDLE_MS, 500)).rejects.toThrow(BrokerUnavailableError);
  });
});

describe('one server', () => {
  const redis = redisForEachTest();

  test('away: endIdle says so, and ends everything once it is back', async () => {
    const broker = redis.open();
    const channels = Array.from({ length: 250 }, newChannel);
    await Promise.all(channels.map((channel) => publishes(broker, channel)));
    redis.server.pause();
    await expect(broker.endIdle(0, 1000)).rejects.toThrow(BrokerUnavailableError);
    redis.server.resume();
    const ended: ChannelKey[] = [];
    await until('all are ended', async () => {
      ended.push(...(await broker.endIdle(0, 1000).catch(() => ({ ended: [] }))).ended);
      return ended.length === channels.length;
    });
    expect(ended.sort()).toEqual([...channels].sort());
  });

  test('away for long: what is to be reported is kept, and no more than 100,000 channels of it', async () => {
    const connection = connectTo({ url: redis.server.url }, 300);
    const activity = new RedisActivity(new RedisCommands(connection, { timeoutMs: 300, maxInFlight: 1000 }), 60_000);
    await redis.server.kill();
    const channels = Array.from({ length: 120_000 }, newChannel);
    for (const [n, channel] of channels.entries()) {
      activity.active(channel, n + 1);
      if (n % 20_000 === 0) await activity.report();
    }
    await redis.server.restart();
    const { admin } = redis.server;
    const newest = channels.at(-1) as ChannelKey;
    let kept = 0;
    // Each shard is reported by itself, and at a busy time not in the first turn.
    await until('nearly all that is kept is reported', async () => {
      await activity.report();
      const sizes = await Promise.all((await admin.keys('tideway:activity:*')).map((key) => admin.zcard(key)));
      kept = sizes.reduce((sum, size) => sum + size, 0);
      return kept > 90_000 && (await admin.zscore(activityKey(activityShard(newest)), newest)) !== null;
    });
    expect(kept).toBeLessThanOrEqual(100_000 + ACTIVITY_SHARDS);
    activity.close();
    connection.close();
  });

  test('it refuses to write: endIdle says so', async () => {
    const broker = redis.open();
    await broker.publish(newChannel(), newMessage(), { name: 'unary', perSec: 0 });
    await until('it is reported', async () => (await redis.server.admin.keys('tideway:activity:*')).length === 1);
    await redis.server.admin.config('SET', 'maxmemory', '1');
    await expect(broker.endIdle(0, 10)).rejects.toThrow(BrokerUnavailableError);
    await redis.server.admin.config('SET', 'maxmemory', '0');
    expect((await broker.endIdle(0, 10)).ended).toHaveLength(1);
  });
});
