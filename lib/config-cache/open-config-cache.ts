import type { RedisPlace } from '#lib/broker/redis-place.ts';
import type { ConfigCache } from './config-cache.ts';
import { type ConfigCacheOptions, createConfigCache } from './create-config-cache.ts';
import { createRedisConfigs } from './redis-configs.ts';

export interface OpenConfigCacheOptions extends Omit<ConfigCacheOptions, 'shared'> {
  /** Without a URL, or with an empty one, each process has only its memory. */
  readonly redis: Omit<RedisPlace, 'url'> & { readonly redisUrl?: string | undefined };
}

/**
 * The cache that a deployment has.
 * @throws InvalidRedisUrlError
 */
export function openConfigCache({ redis, ...options }: OpenConfigCacheOptions): ConfigCache {
  const url = redis.redisUrl?.trim() ?? '';
  const { changes } = options.store;
  const shared = url === '' ? undefined : createRedisConfigs({ ...redis, url, changes, keepMs: options.ttlMs });
  return createConfigCache({ ...options, shared });
}
