import type { Broker, Retention } from './broker.ts';
import { createMemoryBroker } from './memory-broker.ts';
import { createRedisBroker, type RedisBrokerOptions } from './redis-broker.ts';

export interface OpenBrokerOptions extends Omit<RedisBrokerOptions, 'url'> {
  /** Without it, or empty: in memory, for one process. */
  readonly redisUrl?: string | undefined;
  readonly retention?: Partial<Retention> | undefined;
  /** In memory: what all logs together may take. */
  readonly maxTotalBytes?: number | undefined;
}

/**
 * The broker that a deployment has.
 * @throws InvalidRedisUrlError
 */
export function openBroker({ redisUrl, maxTotalBytes, ...options }: OpenBrokerOptions): Broker {
  if (redisUrl === undefined || redisUrl.trim() === '') {
    return createMemoryBroker({ retention: options.retention, maxTotalBytes });
  }
  return createRedisBroker({ url: redisUrl, ...options });
}
