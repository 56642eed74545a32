import { RedisConnection } from './redis-connection.ts';
import { type RedisTlsOptions, readTls } from './redis-options.ts';
import { parseRedisUrl } from './redis-url.ts';

/** Where Redis is. */
export interface RedisPlace {
  /** The forms are those of {@link parseRedisUrl}. */
  readonly url: string;
  readonly tls?: RedisTlsOptions | undefined;
  /** For the Sentinels themselves, where they ask for it; the URL has what Redis asks for. */
  readonly sentinelUsername?: string | undefined;
  readonly sentinelPassword?: string | undefined;
}

/** @throws InvalidRedisUrlError */
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
