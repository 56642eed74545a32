import { expect, test } from 'vitest';
import { freePort } from '../../test/support/free-port.ts';
import { startRedis } from '../../test/support/redis.ts';
import { until } from '../../test/support/until.ts';
import type { Broker, ChannelKey, PublishRate } from './broker.ts';
import { newChannel, newMessage } from './broker-harness.ts';
import { BEFORE_ALL } from './entry-id.ts';
import { createRedisBroker } from './redis-broker.ts';
import { publishes, redisForEachTest } from './redis-fixture.ts';
import { channelKeys } from './redis-keys.ts';

const UNLIMITED: PublishRate = { name: 'unary', perSec: 0 };

const redis = redisForEachTest();

async function scriptCalls(): Promise<number> {
  const stats = await redis.server.admin.info('commandstats');
  const calls = [...stats.matchAll(/cmdstat_(?:eval|evalsha):calls=(\d+)/g)];
  return calls.reduce((sum, [, count]) => sum + Number(count), 0);
}

function channels(count: number): ChannelKey[] {
  return Array.from({ length: count }, newChannel);
}

function entriesOf(broker: Broker, channel: ChannelKey): Promise<number> {
  return broker.read(channel, BEFORE_ALL, 1000).then(({ entries }) => entries.length);
}

test('publishes of a turn go together, 16 channels a call', async () => {
  const broker = redis.open();
  await publishes(broker, newChannel());
  const before = await scriptCalls();
  const asked = channels(48);
  const stored = await Promise.all(asked.map((channel) => publishes(broker, channel)));
  expect(stored).toEqual(asked.map(() => true));
  expect((await scriptCalls()) - before).toBe(3);
  expect(await Promise.all(asked.map((channel) => entriesOf(broker, channel)))).toEqual(asked.map(() => 1));
});

test('all of a call have no more messages than one may have, as a server answers nobody else meanwhile', async () => {
  const broker = redis.open();
  await publishes(broker, newChannel());
  const before = await scriptCalls();
  const many = () => Array.from({ length: 30 }, () => newMessage());
  await Promise.all(channels(7).map((channel) => broker.publishMany(channel, many(), UNLIMITED)));
  expect((await scriptCalls()) - before).toBe(4);
});

test('large ones, and those that count against other rates, go apart', async () => {
  const broker = redis.open();
  await publishes(broker, newChannel());
  const before = await scriptCalls();
  const data = Buffer.alloc(20_000);
  await Promise.all(channels(8).map((channel) => broker.publish(channel, newMessage({ data }), UNLIMITED)));
  expect((await scriptCalls()) - before).toBe(3);
  const [one, two] = channels(2) as [ChannelKey, ChannelKey];
  const strict: PublishRate = { name: 'stream', perSec: 1 };
  const results = await Promise.all([
    broker.publish(one, newMessage(), strict),
    broker.publish(one, newMessage(), UNLIMITED),
    broker.publish(one, newMessage(), strict),
    broker.publish(two, newMessage(), strict),
  ]);
  expect(results.map(({ kind }) => kind)).toEqual(['stored', 'stored', 'rate_limited', 'stored']);
});

test('each has its own answer: new, sent twice, sealed, limited, many of a channel', async () => {
  const broker = redis.open();
  const [fresh, repeated, sealed, many] = channels(4) as [ChannelKey, ChannelKey, ChannelKey, ChannelKey];
  const twice = newMessage();
  const end = newMessage({ phase: 3 });
  await broker.publish(repeated, twice, UNLIMITED);
  await broker.publish(sealed, end, UNLIMITED);
  const before = await scriptCalls();
  const results = await Promise.all([
    broker.publishMany(many, [newMessage(), newMessage(), newMessage()], UNLIMITED),
    broker.publish(repeated, twice, UNLIMITED),
    broker.publish(sealed, newMessage(), UNLIMITED),
    broker.publishMany(many, [newMessage()], UNLIMITED),
    broker.publish(fresh, newMessage(), UNLIMITED),
  ]);
  expect((await scriptCalls()) - before).toBe(1);
  expect(results.flat().map(({ kind }) => kind)).toEqual([
    ...['stored', 'stored', 'stored', 'duplicate', 'sealed', 'stored', 'stored'],
  ]);
  const { entries } = await broker.read(many, BEFORE_ALL, 10);
  expect(entries.map(({ id }) => id)).toEqual(
    [results[0], results[3]].flat().map((result) => (result && 'id' in result ? result.id : undefined)),
  );
});

test('a channel whose keys are broken fails alone', async () => {
  const broker = redis.open();
  const asked = channels(6);
  const broken = asked[2] as ChannelKey;
  await redis.server.admin.set(channelKeys(broken).log, 'not a stream');
  await publishes(broker, newChannel());
  const before = await scriptCalls();
  const outcomes = await Promise.allSettled(asked.map((channel) => publishes(broker, channel)));
  expect((await scriptCalls()) - before).toBe(1);
  expect(outcomes.map(({ status }) => status)).toEqual(
    asked.map((channel) => (channel === broken ? 'rejected' : 'fulfilled')),
  );
  expect(outcomes[2]).toMatchObject({ reason: { cause: { message: expect.stringMatching(/^WRONGTYPE /) } } });
});

test('a channel that has no name on Redis fails alone', async () => {
  const broker = redis.open();
  await publishes(broker, newChannel());
  const unnamed = 'org:ümlaut' as ChannelKey;
  const alone = await Promise.allSettled([
    broker.publish(unnamed, newMessage(), UNLIMITED),
    broker.publish(newChannel(), newMessage(), { name: 'stream', perSec: 0 }),
  ]);
  expect(alone.map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
  const asked = [...channels(3), unnamed, ...channels(3)];
  const outcomes = await Promise.allSettled(asked.map((channel) => publishes(broker, channel)));
  expect(outcomes.map(({ status }) => status)).toEqual(asked.map((_, n) => (n === 3 ? 'rejected' : 'fulfilled')));
  expect(await publishes(broker, newChannel())).toBe(true);
});

test('a server that became a replica refuses all of a call, and is left for the master', async () => {
  await using master = await startRedis();
  const broker = redis.open();
  const asked = channels(6);
  await Promise.all(asked.map((channel) => publishes(broker, channel)));
  await redis.server.admin.replicaof('127.0.0.1', master.port);
  const connected = async () =>
    Number(/total_connections_received:(\d+)/.exec(await redis.server.admin.info('stats'))?.[1]);
  const before = await connected();
  const outcomes = await Promise.allSettled(asked.map((channel) => publishes(broker, channel)));
  expect(outcomes.map(({ status }) => status)).toEqual(asked.map(() => 'rejected'));
  await until('it connects again', async () => (await connected()) > before);
  await redis.server.admin.replicaof('NO', 'ONE');
  await until('it heals', () => publishes(broker, newChannel()));
});

test.each([false, true])(
  'a Cluster of one server that does not say so takes each by itself, in order: one channel first %s',
  async (oneFirst) => {
    // By default a port far above its own, which may be anybody's.
    const busPort = await freePort();
    await using server = await startRedis({ args: ['--cluster-enabled', 'yes', '--cluster-port', `${busPort}`] });
    await server.admin.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
    await server.admin.call('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '&*', '+@all', '-info');
    await until('it serves', async () => /cluster_state:ok/.test(String(await server.admin.call('CLUSTER', 'INFO'))));
    const broker = createRedisBroker({ url: `redis://app:secret@127.0.0.1:${server.port}` });
    try {
      if (oneFirst) {
        // They share a slot, and go together.
        const one = newChannel();
        await publishes(broker, one);
        expect(await Promise.all([publishes(broker, one), publishes(broker, one)])).toEqual([true, true]);
      }
      for (let round = 0; round < 2; round++) {
        const one = newChannel();
        const large = newMessage({ data: Buffer.alloc(70_000) });
        const sent = [
          ...Array.from({ length: 40 }, (_, n) =>
            broker.publish(n % 5 === 0 ? one : newChannel(), newMessage(), UNLIMITED),
          ),
          broker.publish(one, large, UNLIMITED),
        ];
        await new Promise(setImmediate);
        sent.push(broker.publish(one, newMessage(), UNLIMITED));
        const ids = (await Promise.all(sent)).map((result) => 'id' in result && result.id);
        const { entries: found } = await broker.read(one, BEFORE_ALL, 100);
        expect(found.map(({ id }) => id)).toEqual(ids.filter((_, n) => n % 5 === 0 || n > 39));
        const asked = channels(6);
        const channel = newChannel();
        const results = await Promise.all([
          ...asked.map((each) => broker.publish(each, newMessage(), UNLIMITED)),
          ...[1, 2, 3].map(() => broker.publish(channel, newMessage(), UNLIMITED)),
        ]);
        expect(results.map(({ kind }) => kind)).toEqual(results.map(() => 'stored'));
        const { entries } = await broker.read(channel, BEFORE_ALL, 10);
        expect(entries.map(({ id }) => id)).toEqual(results.slice(-3).map((result) => 'id' in result && result.id));
      }
    } finally {
      await broker.close();
    }
  },
);

test('large ones, which go apart, wait for no answers', async () => {
  const broker = redis.open({ commandTimeoutMs: 20_000 });
  await publishes(broker, newChannel());
  const { admin } = redis.server;
  await admin.call('CLIENT', 'PAUSE', 20_000, 'WRITE');
  const data = Buffer.alloc(70_000);
  const publishing = channels(8).map((channel) => broker.publish(channel, newMessage({ data }), UNLIMITED));
  const heldBytes = async () => {
    const clients = String(await admin.call('CLIENT', 'LIST')).split('\n');
    const own = clients.find((line) => line.includes('name=tideway ') && line.includes('flags=b'));
    return Number(/ qbuf=(\d+)/.exec(own ?? '')?.[1] ?? 0);
  };
  await until('they have arrived', async () => (await heldBytes()) > 6 * data.length);
  await admin.call('CLIENT', 'UNPAUSE');
  expect((await Promise.all(publishing)).map(({ kind }) => kind)).toEqual(publishing.map(() => 'stored'));
});
