import { ConfigError, type Env } from '#lib/server/env.ts';

/** What the stream service reads beside the common settings. */
export function streamSettings(env: Env) {
  return {
    maxConnectionMs: env.secondsAsMs('GATEWAY_MAX_CONNECTION_SEC', 0, 0, 7 * 86_400),
    maxListeners: env.integer('GATEWAY_MAX_LISTENERS', 20_000, 1, 1_000_000),
    publicUrl: publicUrl(env),
  };
}

/** Where browsers reach the edge: a part of the URLs that StartStream answers. */
export function publicUrl(env: Env): string | undefined {
  const text = env.text('TIDEWAY_PUBLIC_URL');
  if (text === undefined) return undefined;
  if (!URL.canParse(text) || !/^https?:/.test(text)) {
    throw new ConfigError('TIDEWAY_PUBLIC_URL must be an http or https URL');
  }
  return text.replace(/\/+$/, '');
}
