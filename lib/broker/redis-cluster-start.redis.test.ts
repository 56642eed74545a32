import { Command } from 'ioredis';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { RedisServer } from '../../test/support/redis.ts';
import { type RedisClusterServers, startRedisCluster } from '../../test/support/redis-cluster.ts';
import { until } from '../../test/support/until.ts';
import type { Broker, ChannelKey, PublishRate } from './broker.ts';
import { newChannel, newMessage } from './broker-harness.ts';
import { BEFORE_ALL } from './entry-id.ts';
import { createRedisBroker } from './redis-broker.ts';
import { publishes } from './redis-fixture.ts';
import { channelKeys } from './redis-keys.ts';

// The first that a process has to do with each master of a Cluster, and after it has lost them.

const UNLIMITED: PublishRate = { name: 'unary', perSec: 0 };

let servers: RedisClusterServers;
beforeAll(async () => {
  servers = await startRedisCluster({ args: ['--cluster-require-full-coverage', 'no'] });
});
afterAll(() => servers.stop());

const brokers: Broker[] = [];
afterEach(() => Promise.all(brokers.splice(0).map((broker) => broker.close())));

function open(url: string, commandTimeoutMs = 1500): Broker {
  const broker = createRedisBroker({ url, commandTimeoutMs });
  brokers.push(broker);
  return broker;
}

function allSeeds(): string {
  return `redis://${servers.masters.map(({ port }) => `127.0.0.1:${port}`).join(',')}`;
}

/** A channel of each master: they share the slots evenly. */
function channelsOf(): ChannelKey[] {
  const third = 16_384 / servers.masters.length;
  return servers.masters.map((_, n) => {
    for (;;) {
      const channel = newChannel();
      const slot = new Command('get', [channelKeys(channel).log]).getSlot();
      if (slot >= Math.ceil(n * third) && slot < Math.floor((n + 1) * third)) return channel;
    }
  });
}

async function redirections(): Promise<number> {
  const stats = await Promise.all(servers.masters.map(({ admin }) => admin.info('errorstats')));
  return stats.reduce((sum, text) => sum + Number(/errorstat_MOVED:count=(\d+)/.exec(text)?.[1] ?? 0), 0);
}

test('what is published first goes to its master, in its order, and no other is asked for it', async () => {
  const before = await redirections();
  for (const url of [servers.url, servers.url, allSeeds()]) {
    const broker = open(url);
    const publishing = channelsOf().map(async (channel) => {
      const results = await Promise.all([1, 2, 3, 4].map(() => broker.publish(channel, newMessage(), UNLIMITED)));
      const ids = results.map((result) => (result.kind === 'stored' ? result.id : result.kind));
      const { entries } = await broker.read(channel, BEFORE_ALL, 10);
      expect(entries.map(({ id }) => id)).toEqual(ids);
    });
    await Promise.all(publishing);
  }
  expect(await redirections()).toBe(before);
});

test.each([0, 1, 2])('while master %i stands still, a process that begins publishes to the others', async (silent) => {
  const channels = channelsOf().filter((_, n) => n !== silent);
  const living = servers.masters.find((_, n) => n !== silent);
  servers.masters[silent]?.pause();
  try {
    for (const url of [living?.url ?? '', living?.url ?? '', allSeeds(), allSeeds()]) {
      const broker = open(url);
      const publishing = channels.flatMap((channel) =>
        [1, 2, 3, 4].map(() => broker.publish(channel, newMessage(), UNLIMITED)),
      );
      const results = await Promise.all(publishing);
      expect(results.map(({ kind }) => kind)).toEqual(results.map(() => 'stored'));
    }
  } finally {
    servers.masters[silent]?.resume();
  }
});

test('while the master of the URL stands still, a process that loses its connections to the others finds them again', async () => {
  const [silent, ...living] = servers.masters;
  // A silent connection ends after twice that.
  const broker = open(silent?.url ?? '', 400);
  const [, ...others] = channelsOf();
  await Promise.all(others.map((channel) => publishes(broker, channel)));
  silent?.pause();
  try {
    await Promise.all(living.map(({ admin }) => admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')));
    for (const channel of others) await until('it is published', () => publishes(broker, channel));
  } finally {
    silent?.resume();
  }
});

test('it does not wait for that until the silent connection ends', async () => {
  const [living, silent, other] = servers.masters as [RedisServer, RedisServer, RedisServer];
  // After 24 s, that would be.
  const broker = open(living.url, 12_000);
  const channels = channelsOf();
  await Promise.all(channels.map((channel) => publishes(broker, channel)));
  silent.pause();
  try {
    for (const { admin } of [living, other]) await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    for (const n of [0, 2]) await until('it is published', () => publishes(broker, channels[n] ?? newChannel()));
  } finally {
    silent.resume();
  }
});

test('so it does where one of them had a name that is no more', async () => {
  const [silent, living, gone] = servers.masters as [RedisServer, RedisServer, RedisServer];
  const named = (name: string, ...of: RedisServer[]) =>
    Promise.all(of.map(({ admin }) => admin.config('SET', 'cluster-announce-hostname', name)));
  const spelled = (as: string) =>
    Promise.all(servers.masters.map(({ admin }) => admin.config('SET', 'cluster-preferred-endpoint-type', as)));
  await named('localhost', silent, living, gone);
  await spelled('hostname');
  await named('gone.invalid', gone);
  const slots = async ({ admin }: RedisServer) => JSON.stringify(await admin.cluster('SLOTS'));
  await until('it is known', async () => (await slots(silent)).includes('gone.invalid'));
  const broker = open(silent.url, 400);
  const [, channel = newChannel()] = channelsOf();
  await until('it is published', () => publishes(broker, channel));
  silent.pause();
  try {
    await living.admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await until('it is published', () => publishes(broker, channel));
  } finally {
    silent.resume();
    await spelled('ip');
    await named('', silent, living, gone);
  }
});
