import { inspect } from 'node:util';
import { Command } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { makeTlsFiles, type RedisServer, replicated, startRedis } from '../../test/support/redis.ts';
import { moveSlot, type RedisClusterServers, startRedisCluster } from '../../test/support/redis-cluster.ts';
import { startRedisSentinel } from '../../test/support/redis-sentinel.ts';
import { until } from '../../test/support/until.ts';
import { type Broker, BrokerUnavailableError, type ChannelKey, type Entry, type PublishRate } from './broker.ts';
import { newChannel, newMessage } from './broker-harness.ts';
import { BEFORE_ALL, compareEntryIds } from './entry-id.ts';
import { openBroker } from './open-broker.ts';
import type { RedisBrokerOptions } from './redis-broker.ts';
import { publishes } from './redis-fixture.ts';
import { channelKeys } from './redis-keys.ts';

const UNLIMITED: PublishRate = { name: 'unary', perSec: 0 };
const FAILOVER_TIMEOUT_MS = 30_000;

const brokers: Broker[] = [];
afterEach(() => Promise.all(brokers.splice(0).map((broker) => broker.close())));

function open(redisUrl: string, options: Partial<RedisBrokerOptions> = {}): Broker {
  const broker = openBroker({ redisUrl, commandTimeoutMs: 1000, ...options });
  brokers.push(broker);
  return broker;
}

/** Publishes, reads and receives. */
async function works(broker: Broker): Promise<void> {
  const channel = newChannel();
  const received: Entry[] = [];
  const stop = await broker.listen(channel, (entry) => received.push(entry));
  expect(await publishes(broker, channel)).toBe(true);
  await until('it is delivered', () => received.length === 1);
  expect((await broker.read(channel, BEFORE_ALL, 10)).entries).toHaveLength(1);
  await broker.ping(1000);
  stop();
}

/** What a listener sees of a failover: everything that is published afterwards, and that something may be lost. */
async function follow(broker: Broker, channel: ChannelKey): Promise<{ received: Entry[]; interrupted: () => boolean }> {
  const received: Entry[] = [];
  let interrupted = false;
  broker.onInterruption(() => {
    interrupted = true;
  });
  await broker.listen(channel, (entry) => received.push(entry));
  return { received, interrupted: () => interrupted };
}

test('without a URL the broker is in memory', async () => {
  expect(open('').name).toBe('memory');
  await works(open(''));
});

describe('one server', () => {
  test('with a password and a database', async () => {
    const password = 'p@ss/wörd, :%';
    await using server = await startRedis({ password });
    const broker = open(`${server.url}/3`);
    await works(broker);
    await server.admin.select(3);
    expect(await server.admin.keys('tideway:{*}:log')).toHaveLength(1);
  });

  test('a wrong password is unavailability, and stays out of the error', async () => {
    await using server = await startRedis({ password: 'right' });
    const broker = open(server.url.replace('right', 'hush-hush'));
    const problem = await broker.publish(newChannel(), newMessage(), UNLIMITED).catch((error: unknown) => error);
    expect(problem).toBeInstanceOf(BrokerUnavailableError);
    await until('the cause is known', async () => {
      const later = await broker.ping(500).catch((error: unknown) => error);
      return inspect(later).includes('WRONGPASS');
    });
    const later = await broker.ping(500).catch((error: unknown) => error);
    expect(inspect(later, { depth: 10, showHidden: true })).not.toContain('hush');
  });

  test('over TLS, with the authority that it is told', async () => {
    await using tls = await makeTlsFiles();
    await using server = await startRedis({ tls, password: 'pw' });
    await works(open(server.url, { tls: { caFile: tls.caFile } }));
    await expect(open(server.url).ping(1000)).rejects.toThrow(BrokerUnavailableError);
    await expect(open(server.url.replace('rediss', 'redis')).ping(1000)).rejects.toThrow(BrokerUnavailableError);
  });
});

test('Sentinel: follows the master when it fails over', async () => {
  await using servers = await startRedisSentinel('pw');
  const broker = open(servers.url);
  await works(broker);
  const channel = newChannel();
  const { received, interrupted } = await follow(broker, channel);
  await publishes(broker, channel);
  await until('it is delivered', () => received.length === 1);
  await replicated(servers.master, servers.replica);
  await servers.master.kill();
  await until('publishes heal', () => publishes(broker, channel), FAILOVER_TIMEOUT_MS);
  await until('live delivery stands again', interrupted, FAILOVER_TIMEOUT_MS);
  await publishes(broker, channel);
  const { entries, tail } = await broker.read(channel, BEFORE_ALL, 10);
  expect(entries[0]?.id).toBe(received[0]?.id);
  await until('the last is delivered', () => received.at(-1)?.id === tail.last);
});

describe('a Cluster', () => {
  let servers: RedisClusterServers;
  beforeAll(async () => {
    // So that none is taken for dead that stands still for a second.
    const args = ['--cluster-node-timeout', '3000'];
    servers = await startRedisCluster({ password: 'pw', withReplicas: true, args });
  });
  afterAll(() => servers.stop());

  function slotOf(channel: ChannelKey): number {
    return new Command('get', [channelKeys(channel).log]).getSlot();
  }

  /** The server that has the channel's slot now. */
  async function masterOf(channel: ChannelKey, among: readonly RedisServer[]): Promise<RedisServer> {
    for (const server of among) {
      const has = await server.admin.exists(channelKeys(channel).log).catch(() => 0);
      if (has === 1 && (await server.admin.info('replication')).includes('role:master')) return server;
    }
    throw new Error('no server has it');
  }

  test.each([
    ['one URL', () => servers.url],
    ['several hosts', () => `redis://:pw@${servers.masters.map(({ port }) => `127.0.0.1:${port}`).join(',')}`],
    ['redis+cluster', () => servers.url.replace('redis:', 'redis+cluster:')],
  ])('by %s', async (_, url) => {
    const broker = open(url());
    await Promise.all(Array.from({ length: 12 }, () => works(broker)));
    const channels = Array.from({ length: 12 }, newChannel);
    await Promise.all(channels.map((channel) => publishes(broker, channel)));
    expect((await broker.tails(channels)).every((tail) => tail !== undefined && tail.last !== BEFORE_ALL)).toBe(true);
  });

  test('a slot moves under a stream: nothing fails, live delivery follows', async () => {
    const broker = open(servers.url);
    const channel = newChannel();
    const bystanders = Array.from({ length: 10 }, newChannel);
    const { received, interrupted } = await follow(broker, channel);
    await publishes(broker, channel);
    const from = await masterOf(channel, servers.masters);
    const to = servers.masters.find((server) => server !== from);
    expect(to).toBeDefined();
    let moved = false;
    // Other channels of the same server share its batches of commands, where only some are redirected.
    const publishing = (async () => {
      for (let n = 0; !moved || n < 20; n += 1) {
        await Promise.all([channel, ...bystanders].map((each) => publishes(broker, each)));
      }
    })();
    try {
      if (to) await moveSlot(slotOf(channel), from, to);
    } finally {
      moved = true;
      await publishing;
    }
    await until('live delivery stands again', interrupted);
    await publishes(broker, channel);
    const [tail] = await broker.tails([channel]);
    await until('the last is delivered', () => received.at(-1)?.id === tail?.last);
  });

  test('a master stands still: the tails of channels on the others come as ever', async () => {
    const broker = open(servers.url);
    const channels = Array.from({ length: 12 }, newChannel);
    await Promise.all(channels.map((channel) => publishes(broker, channel)));
    const homes = await Promise.all(channels.map((channel) => masterOf(channel, servers.masters)));
    const [silent] = homes;
    silent?.pause();
    try {
      const tails = await broker.tails(channels);
      expect(tails.map((tail) => tail !== undefined)).toEqual(homes.map((home) => home !== silent));
    } finally {
      silent?.resume();
    }
  });

  test('a master stands still for longer than its connection lasts: publishes to the others go on as ever', async () => {
    // Nobody takes over, and the others serve what is theirs.
    await using alone = await startRedisCluster({ args: ['--cluster-require-full-coverage', 'no'] });
    const commandTimeoutMs = 1_000;
    const broker = open(alone.url, { commandTimeoutMs });
    const channels = Array.from({ length: 12 }, newChannel);
    await Promise.all(channels.map((channel) => publishes(broker, channel)));
    const homes = await Promise.all(channels.map((channel) => masterOf(channel, alone.masters)));
    const [silent] = homes;
    const concerned = channels.filter((_, n) => homes[n] === silent);
    const others = channels.filter((_, n) => homes[n] !== silent);
    silent?.pause();
    try {
      const untilMs = performance.now() + 6 * commandTimeoutMs;
      while (performance.now() < untilMs) {
        // Once its connection is gone, the others are asked for it first, and send back to the one that is silent.
        const asked = Promise.allSettled(concerned.map((channel) => publishes(broker, channel)));
        for (let n = 0; n < 10; n++) await Promise.all(others.map((channel) => publishes(broker, channel)));
        expect((await asked).map(({ status }) => status)).toEqual(concerned.map(() => 'rejected'));
      }
    } finally {
      silent?.resume();
    }
  });

  test('a master dies with what its replica never got: publishes heal, and the log goes on from there', async () => {
    const broker = open(servers.url);
    const channel = newChannel();
    const { received, interrupted } = await follow(broker, channel);
    await publishes(broker, channel);
    const master = await masterOf(channel, servers.masters);
    const replica = servers.replicas[servers.masters.indexOf(master)];
    if (!replica) throw new Error('no replica');
    await replicated(master, replica);
    replica.pause();
    await master.admin.call('CLIENT', 'KILL', 'TYPE', 'replica');
    const lost = newMessage();
    const first = await broker.publish(channel, lost, UNLIMITED);
    await until('it is delivered', () => received.length === 2);
    await master.kill();
    replica.resume();
    // Sent until it is answered; an attempt that was not answered may have stored it.
    const heals = async () => /stored|duplicate/.test((await broker.publish(channel, lost, UNLIMITED)).kind);
    await until('publishes heal', heals, FAILOVER_TIMEOUT_MS);
    await until('live delivery stands again', interrupted, FAILOVER_TIMEOUT_MS);
    await publishes(broker, channel);
    const { entries, tail } = await broker.read(channel, BEFORE_ALL, 10);
    expect(entries).toHaveLength(3);
    // A reader at the lost entry sees an entry that names one before it.
    const firstId = first.kind === 'stored' ? first.id : BEFORE_ALL;
    expect(entries[1]?.prev).toBe(entries[0]?.id);
    expect(compareEntryIds(entries[1]?.id ?? BEFORE_ALL, firstId)).toBeGreaterThan(0);
    await until('the last is delivered', () => received.at(-1)?.id === tail.last, FAILOVER_TIMEOUT_MS);
  });
});
