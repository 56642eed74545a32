import type { RedisPlace } from '#lib/broker/redis-place.ts';
import type { Limits } from './limits.ts';
import { createMemoryLimits } from './memory-limits.ts';
import { createRedisLimits, type RedisLimitsOptions } from './redis-limits.ts';

export interface OpenLimitsOptions extends Pick<RedisLimitsOptions, 'maxRateLimitMs' | 'onError'> {
  /** Without a URL, or with an empty one, each process counts for itself. */
  readonly redis: Omit<RedisPlace, 'url'> & { readonly redisUrl?: string | undefined };
}

/**
 * The limits that a deployment has.
 * @throws InvalidRedisUrlError
 */
export function openLimits({ redis, ...options }: OpenLimitsOptions): Limits {
  const url = redis.redisUrl?.trim() ?? '';
  const { tls, sentinelUsername, sentinelPassword } = redis;
  return url === ''
    ? createMemoryLimits(options)
    : createRedisLimits({ url, tls, sentinelUsername, sentinelPassword, ...options });
}
