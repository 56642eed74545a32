import { randomUUID } from 'node:crypto';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { type RedisServer, startRedis } from '../../test/support/redis.ts';
import { until } from '../../test/support/until.ts';
import { type Broker, BrokerUnavailableError, type ChannelKey, type Entry, type PublishRate } from './broker.ts';
import { newChannel, newMessage } from './broker-harness.ts';
import { BEFORE_ALL } from './entry-id.ts';
import { createRedisBroker, type RedisBrokerOptions } from './redis-broker.ts';
import { activityKey, activityShard, channelKeys } from './redis-keys.ts';

const UNLIMITED: PublishRate = { name: 'unary', perSec: 0 };

let server: RedisServer;
let brokers: Broker[];

beforeEach(async () => {
  brokers = [];
  server = await startRedis();
});
afterEach(async () => {
  server.resume();
  await Promise.all(brokers.map((broker) => broker.close()));
  await server.stop();
});

function open(options: Partial<RedisBrokerOptions> = {}): Broker {
  const broker = createRedisBroker({ url: server.url, commandTimeoutMs: 300, ...options });
  brokers.push(broker);
  return broker;
}

async function publishes(broker: Broker, channel: ChannelKey): Promise<boolean> {
  return (await broker.publish(channel, newMessage(), UNLIMITED)).kind === 'stored';
}

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
    const broker = open();
    const channel = newChannel();
    const { received, interruptions } = await listenTo(broker, channel);
    expect(await publishes(broker, channel)).toBe(true);
    await server.kill();
    await expect(broker.publish(channel, newMessage(), UNLIMITED)).rejects.toThrow(BrokerUnavailableError);
    await expect(broker.ping(200)).rejects.toThrow(BrokerUnavailableError);
    await server.restart();
    await until('publishes heal', () => publishes(broker, channel));
    await until('live delivery stands again', () => interruptions() > 0);
    const before = received.length;
    expect(await publishes(broker, channel)).toBe(true);
    await until('a publish is delivered', () => received.length > before);
  });

  test('away at the start: no exception, clear refusals, then it heals', async () => {
    await server.kill();
    const broker = open();
    await expect(broker.publish(newChannel(), newMessage(), UNLIMITED)).rejects.toThrow(BrokerUnavailableError);
    await expect(broker.listen(newChannel(), () => undefined)).rejects.toThrow(BrokerUnavailableError);
    await expect(broker.read(newChannel(), BEFORE_ALL, 1)).rejects.toThrow(BrokerUnavailableError);
    await server.restart();
    await until('it heals', () => publishes(broker, newChannel()));
    const channel = newChannel();
    const { received } = await listenTo(broker, channel);
    await publishes(broker, channel);
    await until('it delivers', () => received.length === 1);
  });

  test('paused: a publish fails at its deadline, and repeated it is stored once', async () => {
    const broker = open();
    const channel = newChannel();
    await publishes(broker, channel);
    const message = newMessage();
    server.pause();
    await expect(broker.publish(channel, message, UNLIMITED)).rejects.toThrow('did not answer within 300 ms');
    await expect(broker.publish(channel, message, UNLIMITED)).rejects.toThrow(BrokerUnavailableError);
    server.resume();
    await until('it heals', async () => (await broker.publish(channel, message, UNLIMITED)).kind === 'duplicate');
    expect((await broker.read(channel, BEFORE_ALL, 10)).entries).toHaveLength(2);
  });

  test('paused for long: what waits is bounded, also after its callers have gone', async () => {
    // So long a deadline keeps the client from giving up on the connection, which would let go of what waits.
    const broker = open({ maxInFlight: 5, commandTimeoutMs: 2000 });
    await publishes(broker, newChannel());
    server.pause();
    const waiting = Array.from({ length: 5 }, () => broker.ping(50));
    await expect(broker.publish(newChannel(), newMessage(), UNLIMITED)).rejects.toThrow('too many');
    for (const result of await Promise.allSettled(waiting)) expect(result.status).toBe('rejected');
    await expect(broker.publish(newChannel(), newMessage(), UNLIMITED)).rejects.toThrow('too many');
    server.resume();
    await until('it heals', () => publishes(broker, newChannel()));
  });

  test('a silent connection is given up for a new one', async () => {
    const broker = open({ commandTimeoutMs: 100, maxInFlight: 1, reportIntervalMs: 60_000 });
    const channel = newChannel();
    await publishes(broker, channel);
    const connections = async () =>
      Number(/total_connections_received:(\d+)/.exec(await server.admin.info('stats'))?.[1]);
    const before = await connections();
    server.pause();
    await expect(broker.publish(channel, newMessage(), UNLIMITED)).rejects.toThrow(BrokerUnavailableError);
    // For as long as the client holds on to the first request, there is no place for another.
    const gaveUp = async () => {
      const problem = await broker.publish(channel, newMessage(), UNLIMITED).catch((error: Error) => error.message);
      return problem !== 'too many requests are waiting for Redis';
    };
    await until('it gives up', gaveUp);
    server.resume();
    await until('it heals', () => publishes(broker, channel));
    expect(await connections()).toBeGreaterThan(before);
  });

  test('out of memory: refused as unavailable, nothing stored, no payload in the error', async () => {
    const broker = open();
    const channel = newChannel();
    await publishes(broker, channel);
    await server.admin.config('SET', 'maxmemory', '1');
    const message = newMessage({ data: Buffer.from('a secret payload') });
    const problem = await broker.publish(channel, message, UNLIMITED).catch((error: unknown) => error);
    expect(problem).toBeInstanceOf(BrokerUnavailableError);
    expect(inspect(problem, { depth: 10, showHidden: true })).not.toMatch(/secret|61 20 73/);
    expect(inspect(problem)).toContain('OOM');
    await server.admin.config('SET', 'maxmemory', '0');
    expect((await broker.read(channel, BEFORE_ALL, 10)).entries).toHaveLength(1);
    expect((await broker.publish(channel, message, UNLIMITED)).kind).toBe('stored');
  });
});

describe('live delivery', () => {
  test('subscribes again when its connection is killed, and says so', async () => {
    const broker = open();
    const channels = Array.from({ length: 250 }, newChannel);
    const received = new Set<ChannelKey>();
    let interruptions = 0;
    broker.onInterruption(() => {
      interruptions += 1;
    });
    await Promise.all(channels.map((channel) => broker.listen(channel, () => received.add(channel))));
    await server.admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await until('it stands again', () => interruptions > 0);
    const subscribed = async () => (await server.admin.call('PUBSUB', 'SHARDCHANNELS')) as string[];
    await until('all are subscribed', async () => (await subscribed()).length === channels.length);
    await Promise.all(channels.map((channel) => publishes(broker, channel)));
    await until('all are delivered', () => received.size === channels.length);
  });

  test('needs one connection for any number of channels, and leaves nothing behind', async () => {
    const broker = open();
    const connected = async () => Number(/connected_clients:(\d+)/.exec(await server.admin.info('clients'))?.[1]);
    await publishes(broker, newChannel());
    const before = await connected();
    const stops = await Promise.all(Array.from({ length: 100 }, () => broker.listen(newChannel(), () => undefined)));
    expect(await connected()).toBe(before + 1);
    for (const stop of stops) stop();
    const subscribed = async () => (await server.admin.call('PUBSUB', 'SHARDCHANNELS')) as string[];
    await until('none is subscribed', async () => (await subscribed()).length === 0);
  });

  test('is not disturbed by what is not ours', async () => {
    const broker = open();
    const channel = newChannel();
    const { received } = await listenTo(broker, channel);
    for (const junk of ['', ' ', 'x', '1-1 0-0']) await server.admin.spublish(channelKeys(channel).live, junk);
    await publishes(broker, channel);
    await until('a publish is delivered', () => received.length === 1);
  });
});

describe('keys', () => {
  test('a publish is one round trip', async () => {
    const broker = open({ reportIntervalMs: 60_000 });
    const channel = newChannel();
    await publishes(broker, channel);
    const monitor = await server.admin.monitor();
    const commands: string[] = [];
    monitor.on('monitor', (_time: string, args: string[], source: string) => {
      if (source !== 'lua') commands.push(args[0] ?? '');
    });
    for (let n = 0; n < 5; n += 1) await publishes(broker, channel);
    await server.admin.echo('over');
    await until('the monitor has seen it all', () => commands.at(-1) === 'echo');
    expect(commands.slice(0, -1)).toEqual(['evalsha', 'evalsha', 'evalsha', 'evalsha', 'evalsha']);
    monitor.disconnect();
  });

  test('a script that the server forgot is sent again', async () => {
    const broker = open();
    const channel = newChannel();
    await publishes(broker, channel);
    await server.admin.script('FLUSH');
    expect(await publishes(broker, channel)).toBe(true);
  });

  test('share their TTL, and have one without fail', async () => {
    const broker = open();
    const channel = newChannel();
    const { log, index, seal } = channelKeys(channel);
    await publishes(broker, channel);
    await broker.publish(channel, newMessage({ phase: Phase.END }), UNLIMITED);
    const [logMs, indexMs] = [await server.admin.pexpiretime(log), await server.admin.pexpiretime(index)];
    expect(logMs).toBeGreaterThan(0);
    expect(indexMs).toBe(logMs);
    expect(await server.admin.pexpiretime(seal)).toBe(logMs + 24 * 60 * 60 * 1000);
  });

  test('the index lost alone: nothing is stored twice, and the limits still hold', async () => {
    const broker = open({ retention: { maxBytes: 2000 } });
    const channel = newChannel();
    const { index } = channelKeys(channel);
    const messages = Array.from({ length: 5 }, (_, n) => newMessage({ sequence: BigInt(n), data: Buffer.alloc(200) }));
    for (const message of messages) await broker.publish(channel, message, UNLIMITED);
    const whole = await server.admin.hgetall(index);
    await server.admin.del(index);
    const tails = await broker.tails([channel]);
    expect((await broker.publish(channel, messages[2]!, UNLIMITED)).kind).toBe('duplicate');
    expect(await server.admin.hgetall(index)).toEqual(whole);
    expect(await broker.tails([channel])).toEqual(tails);
    for (let n = 0; n < 5; n += 1) await broker.publish(channel, newMessage({ data: Buffer.alloc(200) }), UNLIMITED);
    expect((await broker.read(channel, BEFORE_ALL, 10)).entries).toHaveLength(6);
  });

  test('the log lost alone: what it held can be published again', async () => {
    const broker = open();
    const channel = newChannel();
    const message = newMessage();
    await broker.publish(channel, message, UNLIMITED);
    await server.admin.del(channelKeys(channel).log);
    expect(await broker.tails([channel])).toEqual([{ last: BEFORE_ALL, sealedBy: undefined }]);
    const again = await broker.publish(channel, message, UNLIMITED);
    expect(again.kind).toBe('stored');
    const { entries, tail } = await broker.read(channel, BEFORE_ALL, 10);
    expect(entries.map(({ id, prev }) => [id, prev])).toEqual([[tail.last, BEFORE_ALL]]);
  });

  test('the seal lost alone: the log still says that it is over', async () => {
    const broker = open();
    const channel = newChannel();
    await publishes(broker, channel);
    await broker.publish(channel, newMessage({ phase: Phase.END }), UNLIMITED);
    const tails = await broker.tails([channel]);
    await server.admin.del(channelKeys(channel).seal, channelKeys(channel).index);
    expect((await broker.publish(channel, newMessage(), UNLIMITED)).kind).toBe('sealed');
    expect(await broker.tails([channel])).toEqual(tails);
  });

  test('after FLUSHALL everything begins anew, and what governs is said again', async () => {
    const broker = open({ reportIntervalMs: 20 });
    const channel = newChannel();
    await broker.governIdle(7000, 1000);
    await publishes(broker, channel);
    await server.admin.flushall();
    expect(await broker.tails([channel])).toEqual([{ last: BEFORE_ALL, sealedBy: undefined }]);
    expect(await publishes(broker, channel)).toBe(true);
    expect((await broker.read(channel, BEFORE_ALL, 10)).entries).toHaveLength(1);
    await until('it is said again', async () => (await server.admin.hget('tideway:settings', 'idle_ms')) === '7000');
  });

  test('one process says how long logs may be idle, and the others follow', async () => {
    const governor = open();
    const publisher = open({ reportIntervalMs: 20 });
    await governor.governIdle(5000, 2000);
    const ttlMs = async () => {
      const channel = newChannel();
      await publishes(publisher, channel);
      return server.admin.pttl(channelKeys(channel).log);
    };
    await until('logs live for as long', async () => (await ttlMs()) <= 9000);
    expect(await ttlMs()).toBeGreaterThan(5000);
  });

  test('the activity index has open channels alone', async () => {
    const broker = open({ reportIntervalMs: 20 });
    const channel = newChannel();
    const key = activityKey(activityShard(channel));
    await publishes(broker, channel);
    await until('it is in', async () => (await server.admin.zscore(key, channel)) !== null);
    await broker.publish(channel, newMessage({ phase: Phase.END }), UNLIMITED);
    await until('it is out', async () => (await server.admin.zscore(key, channel)) === null);
    // A report that came late, and a log that expired meanwhile: endIdle finds out.
    await server.admin.zadd(key, 1, channel, 1, `1:${randomUUID()}`);
    expect((await broker.endIdle(0, 10)).ended).toEqual([]);
    expect(await server.admin.zcard(key)).toBe(0);
  });
});
