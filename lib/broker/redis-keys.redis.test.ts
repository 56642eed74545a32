import { randomUUID } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { until } from '../../test/support/until.ts';
import { BrokerUnavailableError, type PublishRate } from './broker.ts';
import { newChannel, newMessage } from './broker-harness.ts';
import { BEFORE_ALL } from './entry-id.ts';
import { publishes, redisForEachTest } from './redis-fixture.ts';
import { activityKey, activityShard, channelKeys } from './redis-keys.ts';

const UNLIMITED: PublishRate = { name: 'unary', perSec: 0 };

const redis = redisForEachTest();

describe('keys', () => {
  test('a publish is one round trip', async () => {
    const broker = redis.open({ reportIntervalMs: 60_000 });
    const channel = newChannel();
    await publishes(broker, channel);
    const monitor = await redis.server.admin.monitor();
    const commands: string[] = [];
    monitor.on('monitor', (_time: string, args: string[], source: string) => {
      if (source !== 'lua') commands.push(args[0] ?? '');
    });
    for (let n = 0; n < 5; n += 1) await publishes(broker, channel);
    await redis.server.admin.echo('over');
    await until('the monitor has seen it all', () => commands.at(-1) === 'echo');
    expect(commands.slice(0, -1)).toEqual(['evalsha', 'evalsha', 'evalsha', 'evalsha', 'evalsha']);
    monitor.disconnect();
  });

  test('a script that the server forgot is sent again', async () => {
    const broker = redis.open();
    const channel = newChannel();
    await publishes(broker, channel);
    await redis.server.admin.script('FLUSH');
    expect(await publishes(broker, channel)).toBe(true);
  });

  test('share their TTL, and have one without fail', async () => {
    const broker = redis.open();
    const channel = newChannel();
    const { log, index, seal } = channelKeys(channel);
    await publishes(broker, channel);
    await broker.publish(channel, newMessage({ phase: Phase.END }), UNLIMITED);
    const [logMs, indexMs] = [await redis.server.admin.pexpiretime(log), await redis.server.admin.pexpiretime(index)];
    expect(logMs).toBeGreaterThan(0);
    // Within a script the clock goes on.
    expect(Math.abs(indexMs - logMs)).toBeLessThan(10_000);
    const sealMs = await redis.server.admin.pexpiretime(seal);
    expect(Math.abs(sealMs - logMs - 24 * 60 * 60 * 1000)).toBeLessThan(10_000);
  });

  test.each([
    ['a repetition', Phase.DELTA],
    ['a straggler', Phase.END],
  ])('share it also where the index was lost, and %s stores nothing', async (_, phase) => {
    const broker = redis.open();
    const channel = newChannel();
    const { log, index } = channelKeys(channel);
    const message = newMessage({ phase });
    await broker.publish(channel, message, UNLIMITED);
    await redis.server.admin.del(index);
    const result = await broker.publish(channel, phase === Phase.END ? newMessage() : message, UNLIMITED);
    expect(result.kind).toBe(phase === Phase.END ? 'sealed' : 'duplicate');
    const expiresMs = await redis.server.admin.pexpiretime(log);
    expect(expiresMs).toBeGreaterThan(0);
    expect(await redis.server.admin.pexpiretime(index)).toBe(expiresMs);
  });

  test('the index lost alone: nothing is stored twice, and the limits still hold', async () => {
    const broker = redis.open({ retention: { maxBytes: 2000 } });
    const channel = newChannel();
    const { index } = channelKeys(channel);
    const messages = Array.from({ length: 5 }, (_, n) => newMessage({ sequence: BigInt(n), data: Buffer.alloc(200) }));
    for (const message of messages) await broker.publish(channel, message, UNLIMITED);
    const whole = await redis.server.admin.hgetall(index);
    await redis.server.admin.del(index);
    const tails = await broker.tails([channel]);
    expect((await broker.publish(channel, messages[2]!, UNLIMITED)).kind).toBe('duplicate');
    expect(await redis.server.admin.hgetall(index)).toEqual(whole);
    expect(await broker.tails([channel])).toEqual(tails);
    for (let n = 0; n < 5; n += 1) await broker.publish(channel, newMessage({ data: Buffer.alloc(200) }), UNLIMITED);
    expect((await broker.read(channel, BEFORE_ALL, 10)).entries).toHaveLength(6);
  });

  test('the log lost alone: what it held can be published again', async () => {
    const broker = redis.open();
    const channel = newChannel();
    const message = newMessage();
    await broker.publish(channel, message, UNLIMITED);
    await redis.server.admin.del(channelKeys(channel).log);
    expect(await broker.tails([channel])).toEqual([{ last: BEFORE_ALL, sealedBy: undefined }]);
    const again = await broker.publish(channel, message, UNLIMITED);
    expect(again.kind).toBe('stored');
    const { entries, tail } = await broker.read(channel, BEFORE_ALL, 10);
    expect(entries.map(({ id, prev }) => [id, prev])).toEqual([[tail.last, BEFORE_ALL]]);
  });

  test('the seal lost alone: the log still says that it is over', async () => {
    const broker = redis.open();
    const channel = newChannel();
    await publishes(broker, channel);
    await broker.publish(channel, newMessage({ phase: Phase.END }), UNLIMITED);
    const tails = await broker.tails([channel]);
    await redis.server.admin.del(channelKeys(channel).seal, channelKeys(channel).index);
    expect((await broker.publish(channel, newMessage(), UNLIMITED)).kind).toBe('sealed');
    expect(await broker.tails([channel])).toEqual(tails);
  });

  test('after FLUSHALL everything begins anew, and what governs is said again', async () => {
    const broker = redis.open({ reportIntervalMs: 20 });
    const channel = newChannel();
    await broker.governIdle(7000, 1000);
    await publishes(broker, channel);
    await redis.server.admin.flushall();
    expect(await broker.tails([channel])).toEqual([{ last: BEFORE_ALL, sealedBy: undefined }]);
    expect(await publishes(broker, channel)).toBe(true);
    expect((await broker.read(channel, BEFORE_ALL, 10)).entries).toHaveLength(1);
    await until(
      'it is said again',
      async () => (await redis.server.admin.hget('tideway:settings', 'idle_ms')) === '7000',
    );
  });

  test('one process says how long logs may be idle, and the others follow', async () => {
    const governor = redis.open();
    const publisher = redis.open({ reportIntervalMs: 20 });
    await governor.governIdle(5000, 2000);
    const ttlMs = async () => {
      const channel = newChannel();
      await publishes(publisher, channel);
      return redis.server.admin.pttl(channelKeys(channel).log);
    };
    await until('logs live for as long', async () => (await ttlMs()) <= 9000);
    expect(await ttlMs()).toBeGreaterThan(5000);
  });

  test('the activity index has open channels alone', async () => {
    const broker = redis.open({ reportIntervalMs: 20 });
    const channel = newChannel();
    const key = activityKey(activityShard(channel));
    await publishes(broker, channel);
    await until('it is in', async () => (await redis.server.admin.zscore(key, channel)) !== null);
    await broker.publish(channel, newMessage({ phase: Phase.END }), UNLIMITED);
    await until('it is out', async () => (await redis.server.admin.zscore(key, channel)) === null);
    // A report that came late, and a log that expired meanwhile: endIdle finds out.
    await redis.server.admin.zadd(key, 1, channel, 1, `1:${randomUUID()}`);
    expect((await broker.endIdle(0, 10)).ended).toEqual([]);
    expect(await redis.server.admin.zcard(key)).toBe(0);
  });

  test('the activity index has what was stored and not answered, once it is sent again', async () => {
    const broker = redis.open({ reportIntervalMs: 20 });
    const channel = newChannel();
    const message = newMessage();
    const again = () => broker.publish(channel, message, UNLIMITED);
    await publishes(broker, newChannel());
    redis.server.pause();
    await expect(again()).rejects.toThrow(BrokerUnavailableError);
    redis.server.resume();
    await until('it is stored already', async () => (await again()).kind === 'duplicate');
    expect((await broker.endIdle(0, 10)).ended).toContain(channel);
  });

  test('the activity index is not told again of a stream that has ended by what is sent again before the report', async () => {
    const broker = redis.open({ reportIntervalMs: 60_000 });
    const channel = newChannel();
    const message = newMessage();
    await broker.publish(channel, message, UNLIMITED);
    await broker.publish(channel, newMessage({ phase: Phase.END }), UNLIMITED);
    await broker.publish(channel, message, UNLIMITED);
    expect((await broker.endIdle(0, 10)).examined).toBe(0);
  });
});
