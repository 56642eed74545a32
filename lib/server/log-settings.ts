import { logSettings as logSettingsIn } from '#lib/log/log-settings.ts';
import type { OpenLogOptions } from '#lib/log/open-log.ts';
import type { Env } from './env.ts';
import { dataDir } from './settings.ts';

/** Where the log of events and outcomes is, for all that append to it and read it. @throws ConfigError */
export function logSettings(env: Env): OpenLogOptions {
  return logSettingsIn(env, dataDir(env));
}

/** The log of services that run apart, maybe on several machines: they meet in Kafka. @throws ConfigError */
export function sharedLogSettings(env: Env): OpenLogOptions {
  env.required('KAFKA_BROKERS');
  return logSettings(env);
}
