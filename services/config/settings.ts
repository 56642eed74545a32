import type { DevelopmentKeys } from '#lib/auth/development-keys.ts';
import { ConfigError, type Env } from '#lib/server/env.ts';
import { listOf, ownRelayTokens, relayTokensOf } from '#lib/server/relay-tokens.ts';
import { readRelayKey } from './relay-signature.ts';
import type { RelaysOptions, SigningRelay } from './relays.ts';

/** What the config service reads beside the common settings. @throws ConfigError */
export function configSettings(env: Env, development: DevelopmentKeys | undefined) {
  return {
    cache: {
      maxBytes: env.integer('CONFIG_CACHE_MAX_BYTES', 256 * 1024 * 1024, 1024 * 1024, 2 ** 40),
      graceMs: env.secondsAsMs('CONFIG_GRACE_SEC', 120, 0, 86_400),
      ttlMs: env.secondsAsMs('CONFIG_TTL_SEC', 3600, 10, 86_400),
    },
    relays: relaySettings(env, development),
  };
}

/** Of a process that does nothing else: nobody could ask it. @throws ConfigError */
export function requireRelays({ tokens, keys }: RelaysOptions): void {
  if (tokens.length === 0 && keys.length === 0) throw new ConfigError('RELAY_TOKEN (or RELAY_TRUSTED_KEYS) is not set');
}

/** A signature is tried with each key, by whoever sends one. */
const MAX_KEYS = 16;

function relaySettings(env: Env, development: DevelopmentKeys | undefined): RelaysOptions {
  const own = ownRelayTokens(env, development).map((secret) => ({ secret, isTrusted: true }));
  const others = relayTokensOf(env, 'RELAY_EXTERNAL_TOKEN').map((secret) => ({ secret, isTrusted: false }));
  const tokens = [...own, ...others];
  const keys = [...keysOf(env, 'RELAY_TRUSTED_KEYS', true), ...keysOf(env, 'RELAY_EXTERNAL_KEYS', false)];
  if (keys.length > MAX_KEYS) throw new ConfigError(`RELAY_TRUSTED_KEYS and RELAY_EXTERNAL_KEYS: at most ${MAX_KEYS}`);
  if (new Set(keys.map(({ publicKey }) => publicKey)).size < keys.length) {
    throw new ConfigError('RELAY_TRUSTED_KEYS and RELAY_EXTERNAL_KEYS: a key is there twice');
  }
  return { tokens, keys };
}

function keysOf(env: Env, name: string, isTrusted: boolean): SigningRelay[] {
  return listOf(env, name).map((text, at) => {
    const key = readRelayKey(text);
    if (key === undefined) {
      throw new ConfigError(`${name}: number ${at + 1} is not an Ed25519 public key (32 bytes in base64url)`);
    }
    return { publicKey: text.replace(/=$/, ''), key, isTrusted };
  });
}
