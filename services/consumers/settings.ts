import type { Env } from '#lib/server/env.ts';
import { logSettings } from '#lib/server/log-settings.ts';
import { storeSettings } from '#lib/server/settings.ts';
import type { ThreadData } from './thread-messages.ts';

/** Where the consumers read from and save to. */
export function consumersSettings(env: Env): ThreadData {
  return { store: storeSettings(env), log: logSettings(env) };
}
