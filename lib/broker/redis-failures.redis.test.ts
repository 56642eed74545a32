import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { until } from '../../test/support/until.ts';
import { type Broker, BrokerUnavailableError, type ChannelKey, type Entry, type PublishRate } from './broker.ts';
import { newChannel, newMessage } from './broker-harness.ts';
import { BEFORE_ALL } from './entry-id.ts';
import { publishes, redisForEachTest } from './redis-fixture.ts';
import { channelKeys } from './redis-keys.ts';

const UNLIMITED: PublishRate = { name: 'unary', perSec: 0 };

const redis = redisForEachTest();

async function listenTo(
  broker: Broker,
  channel: ChannelKey,
): Promise<{ received: Entry[]; interruptions: () => number }> {
  const received: Entry[] = [];
  let interruptions = 0;
  broker.onInterruption(() => {
    interruptions += 1;
  });
  await broker.listen(channel, (entry) => received.push(entry));
  return { received, interruptions: () => interruptions };
}

describe('Redis goes away', () => {
  test('killed and restarted: publishes fail, then heal; live delivery comes back and says so', async () => {
    const broker = redis.open();
    const channel = newChannel();
    const { received, interruptions } = await listenTo(broker, channel);
    expect(await publishes(broker, channel)).toBe(true);
    await redis.server.kill();
    await expect(broker.publish(channel, newMessage(), UNLIMITED)).rejects.toThrow(BrokerUnavailableError);
    await expect(broker.ping(200)).rejects.toThrow(BrokerUnavailableError);
    await redis.server.restart();
    await until('publishes heal', () => publishes(broker, channel));
    await until('live delivery stands again', () => interruptions() > 0);
    const before = received.length;
    expect(await publishes(broker, channel)).toBe(true);
    await until('a publish is delivered', () => received.length > before);
  });

  test('away at the start: no exception, clear refusals, then it heals', async () => {
    await redis.server.kill();
    const broker = redis.open();
    await expect(broker.publish(newChannel(), newMessage(), UNLIMITED)).rejects.toThrow(BrokerUnavailableError);
    await expect(broker.listen(newChannel(), () => undefined)).rejects.toThrow(BrokerUnavailableError);
    await expect(broker.read(newChannel(), BEFORE_ALL, 1)).rejects.toThrow(BrokerUnavailableError);
    await redis.server.restart();
    await until('it heals', () => publishes(broker, newChannel()));
    const channel = newChannel();
    const { received } = await listenTo(broker, channel);
    await publishes(broker, channel);
    await until('it delivers', () => received.length === 1);
  });

  test('paused: a publish fails at its deadline, and repeated it is stored once', async () => {
    const broker = redis.open();
    const channel = newChannel();
    await publishes(broker, channel);
    const message = newMessage();
    redis.server.pause();
    await expect(broker.publish(channel, message, UNLIMITED)).rejects.toThrow('did not answer within 1000 ms');
    await expect(broker.publish(channel, message, UNLIMITED)).rejects.toThrow(BrokerUnavailableError);
    redis.server.resume();
    await until('it heals', async () => (await broker.publish(channel, message, UNLIMITED)).kind === 'duplicate');
    expect((await broker.read(channel, BEFORE_ALL, 10)).entries).toHaveLength(2);
  });

  test('paused in the middle of many at once: they fail as a whole, and repeated they are stored once and in order', async () => {
    const broker = redis.open();
    const channel = newChannel();
    const messages = Array.from({ length: 3000 }, (_, n) => newMessage({ sequence: BigInt(n) }));
    let isPaused = false;
    await broker.listen(channel, () => {
      if (!isPaused) redis.server.pause();
      isPaused = true;
    });
    await expect(broker.publishMany(channel, messages, UNLIMITED)).rejects.toThrow(BrokerUnavailableError);
    redis.server.resume();
    const other = redis.open({ commandTimeoutMs: 10_000 });
    const before = (await other.read(channel, BEFORE_ALL, 5000)).entries.length;
    expect(before).toBeGreaterThan(0);
    expect(before).toBeLessThan(3000);
    const results = await other.publishMany(channel, messages, UNLIMITED);
    expect(results.findIndex(({ kind }) => kind === 'stored')).toBeGreaterThanOrEqual(before);
    const { entries } = await other.read(channel, BEFORE_ALL, 5000);
    expect(entries.map(({ id }) => id)).toEqual(results.map((result) => ('id' in result ? result.id : result.kind)));
  });

  test('paused for long: what waits is bounded, also after its callers have gone', async () => {
    // So long a deadline keeps the client from giving up on the connection, which would let go of what waits.
    const broker = redis.open({ maxInFlight: 5, commandTimeoutMs: 2000 });
    await publishes(broker, newChannel());
    redis.server.pause();
    const waiting = Array.from({ length: 5 }, () => broker.ping(50));
    await expect(broker.publish(newChannel(), newMessage(), UNLIMITED)).rejects.toThrow('too many');
    for (const result of await Promise.allSettled(waiting)) expect(result.status).toBe('rejected');
    await expect(broker.publish(newChannel(), newMessage(), UNLIMITED)).rejects.toThrow('too many');
    redis.server.resume();
    await until('it heals', () => publishes(broker, newChannel()));
  });

  test('a silent connection is given up for a new one', async () => {
    const broker = redis.open({ commandTimeoutMs: 100, maxInFlight: 1, reportIntervalMs: 60_000 });
    const channel = newChannel();
    await publishes(broker, channel);
    const connections = async () =>
      Number(/total_connections_received:(\d+)/.exec(await redis.server.admin.info('stats'))?.[1]);
    const before = await connections();
    redis.server.pause();
    await expect(broker.publish(channel, newMessage(), UNLIMITED)).rejects.toThrow(BrokerUnavailableError);
    // For as long as the client holds on to the first request, there is no place for another.
    const gaveUp = async () => {
      const problem = await broker.publish(channel, newMessage(), UNLIMITED).catch((error: Error) => error.message);
      return problem !== 'too many requests are waiting for Redis';
    };
    await until('it gives up', gaveUp);
    redis.server.resume();
    await until('it heals', () => publishes(broker, channel));
    expect(await connections()).toBeGreaterThan(before);
  });

  test('out of memory: refused as unavailable, nothing stored, no payload in the error', async () => {
    const broker = redis.open();
    const channel = newChannel();
    await publishes(broker, channel);
    await redis.server.admin.config('SET', 'maxmemory', '1');
    const message = newMessage({ data: Buffer.from('a secret payload') });
    const problem = await broker.publish(channel, message, UNLIMITED).catch((error: unknown) => error);
    expect(problem).toBeInstanceOf(BrokerUnavailableError);
    expect(inspect(problem, { depth: 10, showHidden: true })).not.toMatch(/secret|61 20 73/);
    expect(inspect(problem)).toContain('OOM');
    await redis.server.admin.config('SET', 'maxmemory', '0');
    expect((await broker.read(channel, BEFORE_ALL, 10)).entries).toHaveLength(1);
    expect((await broker.publish(channel, message, UNLIMITED)).kind).toBe('stored');
  });
});

describe('live delivery', () => {
  test('subscribes again when its connection is killed, and says so', async () => {
    const broker = redis.open();
    const channels = Array.from({ length: 250 }, newChannel);
    const received = new Set<ChannelKey>();
    let interruptions = 0;
    broker.onInterruption(() => {
      interruptions += 1;
    });
    await Promise.all(channels.map((channel) => broker.listen(channel, () => received.add(channel))));
    await redis.server.admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await until('it stands again', () => interruptions > 0);
    const subscribed = async () => (await redis.server.admin.call('PUBSUB', 'SHARDCHANNELS')) as string[];
    await until('all are subscribed', async () => (await subscribed()).length === channels.length);
    await Promise.all(channels.map((channel) => publishes(broker, channel)));
    await until('all are delivered', () => received.size === channels.length);
  });

  test('needs one connection for any number of channels, and leaves nothing behind', async () => {
    const broker = redis.open();
    const connected = async () => Number(/connected_clients:(\d+)/.exec(await redis.server.admin.info('clients'))?.[1]);
    await publishes(broker, newChannel());
    const before = await connected();
    const stops = await Promise.all(Array.from({ length: 100 }, () => broker.listen(newChannel(), () => undefined)));
    expect(await connected()).toBe(before + 1);
    for (const stop of stops) stop();
    const subscribed = async () => (await redis.server.admin.call('PUBSUB', 'SHARDCHANNELS')) as string[];
    await until('none is subscribed', async () => (await subscribed()).length === 0);
  });

  test('is not disturbed by what is not ours', async () => {
    const broker = redis.open();
    const channel = newChannel();
    const { received } = await listenTo(broker, channel);
    for (const junk of ['', ' ', 'x', '1-1 0-0']) await redis.server.admin.spublish(channelKeys(channel).live, junk);
    await publishes(broker, channel);
    await until('a publish is delivered', () => received.length === 1);
  });
});
