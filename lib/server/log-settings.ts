import type { OpenLogOptions } from '#lib/log/open-log.ts';
import type { Env } from './env.ts';
import { dataDir } from './settings.ts';

/** Where the log of events and outcomes is, for all that append to it and read it. */
export function logSettings(env: Env): OpenLogOptions {
  return { dataDir: dataDir(env) };
}
