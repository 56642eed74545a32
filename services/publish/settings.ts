import type { Env } from '#lib/server/env.ts';

/** What the publish service reads beside the common settings. */
export function publishSettings(env: Env) {
  return {
    /** Conduit's limit. */
    ratePerSec: env.integer('PUBLISH_RATE_PER_SEC', 20, 0, 1_000_000),
    streamRatePerSec: env.integer('PUBLISH_STREAM_RATE_PER_SEC', 200, 0, 1_000_000),
  };
}
