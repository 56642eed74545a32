import { BrokerUnavailableError } from '#lib/broker/broker.ts';
import type { RedisClient } from '#lib/broker/redis-client.ts';
import { connectTo, type RedisPlace } from '#lib/broker/redis-place.ts';
import { createMemoryThrottle } from './memory-throttle.ts';
import type { Counter, Throttle } from './throttle.ts';

export interface RedisThrottle extends Throttle {
  close(): void;
}

const KEY_PREFIX = 'tideway:attempts:';
/** A person waits for the answer, and the counters of this process are there. */
const COMMAND_TIMEOUT_MS = 1_000;

/** One step, or a process that dies between the two would leave a counter that never ends. */
const COUNT_SCRIPT = `
local count = redis.call('INCR', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
  left = tonumber(ARGV[1])
end
return { count, left }
`;

/**
 * For all processes together. While Redis is away each counts for itself.
 * @throws InvalidRedisUrlError
 */
export function createRedisThrottle(place: RedisPlace): RedisThrottle {
  const connection = connectTo(place, COMMAND_TIMEOUT_MS);
  const alone = createMemoryThrottle();

  /** Undefined: Redis is away. */
  async function withRedis<T>(act: (client: RedisClient) => Promise<T>): Promise<T | undefined> {
    if (connection.problem !== undefined) return undefined;
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(new BrokerUnavailableError('Redis is slow')), COMMAND_TIMEOUT_MS);
    try {
      return await Promise.race([connection.open(COMMAND_TIMEOUT_MS).then(act), late]);
    } catch {
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  }

  async function count(client: RedisClient, { key, limit, windowMs }: Counter): Promise<number> {
    const reply = await client.eval(COUNT_SCRIPT, 1, KEY_PREFIX + key, windowMs);
    const [attempts, leftMs] = Array.isArray(reply) ? reply.map(Number) : [];
    if (attempts === undefined || leftMs === undefined) throw new Error('Redis answered something else');
    return attempts > limit ? leftMs : 0;
  }

  return {
    async attempt(counters) {
      const waitMs = await withRedis(async (client) => {
        for (const counter of counters) {
          const leftMs = await count(client, counter);
          if (leftMs > 0) return leftMs;
        }
        return 0;
      });
      if (waitMs === undefined) return alone.attempt(counters);
      return waitMs > 0 ? waitMs : undefined;
    },
    async forget(counter) {
      await alone.forget(counter);
      await withRedis((client) => client.del(KEY_PREFIX + counter.key));
    },
    close: () => connection.close(),
  };
}
