import type { Env } from '#lib/server/env.ts';
import { logSettings, sharedLogSettings } from '#lib/server/log-settings.ts';
import { storeSettings } from '#lib/server/settings.ts';
import type { ThreadData } from './thread-messages.ts';

/** Where the consumers read from and save to. */
export function consumersSettings(env: Env): ThreadData {
  return { store: storeSettings(env), log: logSettings(env) };
}

/** Of consumers that run apart from those who append. @throws ConfigError */
export function apartSettings(env: Env): ThreadData {
  return { ...consumersSettings(env), log: sharedLogSettings(env) };
}
