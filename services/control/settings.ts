import type { Env } from '#lib/server/env.ts';
import { publicUrl } from '#lib/server/settings.ts';

/** What the control service reads beside the common settings. */
export function controlSettings(env: Env) {
  return {
    publicUrl: publicUrl(env),
    defaultRegion: env.text('TIDEWAY_REGION') ?? 'default',
  };
}
