import { availableParallelism } from 'node:os';
import type { DevelopmentKeys } from '#lib/auth/development-keys.ts';
import { trustedHops } from '#lib/server/caller-address.ts';
import { ConfigError, type Env } from '#lib/server/env.ts';
import { ownRelayTokens } from '#lib/server/relay-tokens.ts';
import { httpUrl } from '#lib/server/settings.ts';
import { DEFAULT_MAX_BODIES_PER_ADDRESS } from './bodies-of-callers.ts';

/** Over our RPC; a Sentry upstream is asked less often. */
const RPC_BATCH_INTERVAL_MS = 5;
const SENTRY_BATCH_INTERVAL_MS = 100;

/** What the relay reads beside the common settings. @throws ConfigError */
export function relaySettings(env: Env, development: DevelopmentKeys | undefined) {
  const upstreamUrl = httpUrl(env, 'RELAY_UPSTREAM_URL');
  const usual = upstreamUrl === undefined ? RPC_BATCH_INTERVAL_MS : SENTRY_BATCH_INTERVAL_MS;
  return {
    /** A Sentry upstream, in place of our config service. */
    upstreamUrl,
    /** What relays and the config service know each other by. */
    tokens: ownRelayTokens(env, development),
    batchIntervalMs: env.integer('RELAY_BATCH_INTERVAL_MS', usual, 0, 10_000),
    graceMs: env.secondsAsMs('RELAY_GRACE_SEC', 120, 0, 86_400),
    maxProjects: env.integer('RELAY_MAX_PROJECTS', 100_000, 100, 10_000_000),
    maxRateLimitMs: env.secondsAsMs('RELAY_MAX_RATE_LIMIT_SEC', 300, 1, 86_400),
    maxQueueBytes: env.integer('RELAY_QUEUE_MAX_BYTES', 64 * 1024 * 1024, 1024 * 1024, 2 ** 40),
    maxReceivingBytes: env.integer('RELAY_RECEIVING_MAX_BYTES', 512 * 1024 * 1024, 1024 * 1024, 2 ** 40),
    /** 0: any number. */
    maxBodiesPerAddress: env.integer('RELAY_MAX_BODIES_PER_ADDRESS', DEFAULT_MAX_BODIES_PER_ADDRESS, 0, 1_000_000),
    trustedHops: trustedHops(env),
    threads: env.integer('RELAY_THREADS', Math.max(1, availableParallelism() - 1), 1, 256),
  };
}

export type RelaySettings = ReturnType<typeof relaySettings>;

/** Of a relay that runs apart from the config service. @throws ConfigError */
export function configUrl(env: Env): string {
  const url = httpUrl(env, 'CONFIG_URL');
  if (url === undefined) throw new ConfigError('CONFIG_URL (or RELAY_UPSTREAM_URL) is not set');
  return url;
}

/** @throws ConfigError */
export function firstToken({ tokens }: RelaySettings): string {
  const [token] = tokens;
  if (token === undefined) throw new ConfigError('RELAY_TOKEN is not set');
  return token;
}
