import { afterEach, expect, test } from 'vitest';
import { masterOf, moveSlot, startRedisCluster } from '../../test/support/redis-cluster.ts';
import { startRedisSentinel } from '../../test/support/redis-sentinel.ts';
import { until } from '../../test/support/until.ts';
import { type Broker, BrokerUnavailableError, type PublishRate } from './broker.ts';
import { newChannel, newMessage } from './broker-harness.ts';
import { createRedisBroker } from './redis-broker.ts';
import { channelKeys } from './redis-keys.ts';

const UNLIMITED: PublishRate = { name: 'unary', perSec: 0 };

const brokers: Broker[] = [];
afterEach(() => Promise.all(brokers.splice(0).map((broker) => broker.close())));

function open(url: string): Broker {
  const broker = createRedisBroker({ url, commandTimeoutMs: 2_000, waitReplicas: 1 });
  brokers.push(broker);
  return broker;
}

test('what no replica has is not answered, also when it is sent again; once one has it, it is', async () => {
  await using redis = await startRedisSentinel('sesame');
  const url = redis.master.url;
  const [broker, other] = [open(url), open(url)];
  const channel = newChannel();
  // A replica that has just come acknowledges a little later.
  await until('it is stored', async () => (await broker.publish(channel, newMessage(), UNLIMITED)).kind === 'stored');
  redis.replica.pause();
  const message = newMessage();
  await expect(broker.publish(channel, message, UNLIMITED)).rejects.toThrow(BrokerUnavailableError);
  // A repetition stores nothing; on a connection that has stored nothing either.
  await expect(broker.publish(channel, message, UNLIMITED)).rejects.toThrow(BrokerUnavailableError);
  await expect(other.publish(channel, message, UNLIMITED)).rejects.toThrow(BrokerUnavailableError);
  expect((await broker.publishMany(channel, [message], UNLIMITED).catch((error) => error)).name).toBe(
    'BrokerUnavailableError',
  );
  redis.replica.resume();
  await until('it is answered', async () => (await other.publish(channel, message, UNLIMITED)).kind === 'duplicate');
});

test('nor is it where Redis has forgotten the script that publishes', async () => {
  await using redis = await startRedisSentinel('sesame');
  const broker = open(redis.master.url);
  const channel = newChannel();
  const publish = (message = newMessage()) => broker.publish(channel, message, UNLIMITED);
  await until('it is stored', async () => (await publish()).kind === 'stored');
  const { admin } = redis.master;
  await admin.script('FLUSH');
  // A WAIT for what there was before is answered at once, then.
  const offset = (info: string, name: string) => new RegExp(`\\b${name}[:=](\\d+)`).exec(info)?.[1];
  await until('all is acknowledged', async () => {
    const info = await admin.info('replication');
    return offset(info, 'offset') === offset(info, 'master_repl_offset');
  });
  redis.replica.pause();
  const message = newMessage();
  await expect(publish(message)).rejects.toThrow('not 1 replicas have it yet');
  redis.replica.resume();
  await until('it is answered', async () => (await publish(message)).kind === 'duplicate');
  await admin.script('FLUSH');
  await until('it is stored', async () => (await publish()).kind === 'stored');
});

test('in a Cluster whose slots move', async () => {
  await using cluster = await startRedisCluster({ withReplicas: true });
  const broker = open(cluster.url);
  const channel = newChannel();
  await until('it is stored', async () => (await broker.publish(channel, newMessage(), UNLIMITED)).kind === 'stored');
  const { log } = channelKeys(channel);
  const from = await masterOf(cluster, log);
  const to = cluster.masters.find((master) => master !== from);
  if (to === undefined) throw new Error('there are three');
  await moveSlot(await from.admin.cluster('KEYSLOT', log), from, to);
  await until('it is stored', async () => (await broker.publish(channel, newMessage(), UNLIMITED)).kind === 'stored');
  expect((await broker.publishMany(channel, [newMessage(), newMessage()], UNLIMITED)).map(({ kind }) => kind)).toEqual([
    'stored',
    'stored',
  ]);
});
