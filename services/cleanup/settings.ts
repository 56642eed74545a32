import type { Env } from '#lib/server/env.ts';

/** What the cleanup service reads beside the common settings: Conduit's names and defaults. */
export function cleanupSettings(env: Env) {
  return {
    idleMs: env.secondsAsMs('CLEANUP_STREAM_IDLE_SEC', 120, 1, 30 * 86_400),
    intervalMs: env.secondsAsMs('CLEANUP_INTERVAL_SEC', 120, 1, 86_400),
  };
}
