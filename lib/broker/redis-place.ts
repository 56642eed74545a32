import type { RedisBrokerOptions } from './redis-broker.ts';
import { RedisConnection } from './redis-connection.ts';
import { readTls } from './redis-options.ts';
import { parseRedisUrl } from './redis-url.ts';

/** Where Redis is, said as for the broker. */
export type RedisPlace = Pick<RedisBrokerOptions, 'url' | 'tls' | 'sentinelUsername' | 'sentinelPassword'>;

/** Connects for what is no broker. @throws InvalidRedisUrlError */
export function connectTo(place: RedisPlace, commandTimeoutMs: number): RedisConnection {
  const { url, tls = {}, sentinelUsername, sentinelPassword } = place;
  const target = parseRedisUrl(url);
  return new RedisConnection({
    target,
    tls: readTls(target, tls),
    sentinelUsername,
    sentinelPassword,
    commandTimeoutMs,
  });
}
