import type { Env } from '#lib/server/env.ts';
import { publicUrl } from '#lib/server/settings.ts';
import { REVOKED_FOR_MS } from './revoke-tokens.ts';

/** What the stream service reads beside the common settings. */
export function streamSettings(env: Env) {
  return {
    maxConnectionMs: env.secondsAsMs('GATEWAY_MAX_CONNECTION_SEC', 0, 0, 7 * 86_400),
    maxListeners: env.integer('GATEWAY_MAX_LISTENERS', 20_000, 1, 1_000_000),
    publicUrl: publicUrl(env),
    cutExpired: env.integer('GATEWAY_CUT_EXPIRED', 0, 0, 1) === 1,
    revocationMs: env.secondsAsMs('GATEWAY_REVOCATION_SEC', REVOKED_FOR_MS / 1000, 60, 30 * 86_400),
  };
}
