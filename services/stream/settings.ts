import type { Env } from '#lib/server/env.ts';
import { publicUrl } from '#lib/server/settings.ts';

/** What the stream service reads beside the common settings. */
export function streamSettings(env: Env) {
  return {
    maxConnectionMs: env.secondsAsMs('GATEWAY_MAX_CONNECTION_SEC', 0, 0, 7 * 86_400),
    maxListeners: env.integer('GATEWAY_MAX_LISTENERS', 20_000, 1, 1_000_000),
    publicUrl: publicUrl(env),
  };
}
