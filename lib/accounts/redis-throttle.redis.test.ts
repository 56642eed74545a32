import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type RedisServer, startRedis } from '../../test/support/redis.ts';
import { until } from '../../test/support/until.ts';
import { createRedisThrottle, type RedisThrottle } from './redis-throttle.ts';
import { describeThrottleContract } from './throttle-contract.ts';

let redis: RedisServer;
let throttle: RedisThrottle;
beforeAll(async () => {
  redis = await startRedis();
  throttle = createRedisThrottle({ url: redis.url });
});
afterAll(async () => {
  throttle?.close();
  await redis?.stop();
});

describeThrottleContract('Redis', {
  throttle: () => throttle,
  pass: (ms) => new Promise((resolve) => setTimeout(resolve, ms + 20)),
});

describe('on Redis', () => {
  test('counts for all processes together, and leaves no key for ever', async () => {
    const other = createRedisThrottle({ url: redis.url });
    const counter = { key: 'together', limit: 2, windowMs: 60_000 };
    expect(await throttle.attempt([counter])).toBeUndefined();
    expect(await other.attempt([counter])).toBeUndefined();
    expect(await throttle.attempt([counter])).toBeGreaterThan(0);
    for (const key of await redis.admin.keys('*')) expect(await redis.admin.pttl(key)).toBeGreaterThan(0);
    other.close();
  });

  test('counts in this process while Redis is away, and together again afterwards', async () => {
    const counter = { key: 'alone', limit: 1, windowMs: 600_000 };
    await redis.kill();
    expect(await throttle.attempt([counter])).toBeUndefined();
    expect(await throttle.attempt([counter])).toBeGreaterThan(0);
    await redis.restart();
    await until('Redis counts again', async () => {
      await throttle.attempt([{ key: 'again', limit: 1_000, windowMs: 600_000 }]);
      return (await redis.admin.exists('tideway:attempts:again')) === 1;
    });
  });
});
