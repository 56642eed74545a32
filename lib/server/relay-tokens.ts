import { type DevelopmentKeys, isDevelopmentSecret } from '#lib/auth/development-keys.ts';
import { developmentRelayToken } from '#lib/auth/development-relay-token.ts';
import { ConfigError, type Env } from './env.ts';

/** Below this a token can be guessed. */
const MIN_TOKEN_LENGTH = 32;

/** What our relays and config services know each other by; in development there always is one. @throws ConfigError */
export function ownRelayTokens(env: Env, development: DevelopmentKeys | undefined): string[] {
  const set = relayTokensOf(env, 'RELAY_TOKEN');
  return set.length === 0 && development !== undefined ? [developmentRelayToken(development)] : set;
}

/** A list of tokens, with commas. @throws ConfigError */
export function relayTokensOf(env: Env, name: string): string[] {
  return listOf(env, name).map((secret) => {
    if (env.isProduction && isDevelopmentSecret(secret)) {
      throw new ConfigError(`${name} holds a development key, which production refuses`);
    }
    if (secret.length < MIN_TOKEN_LENGTH) {
      throw new ConfigError(`${name}: each token must have at least ${MIN_TOKEN_LENGTH} characters`);
    }
    return secret;
  });
}

export function listOf(env: Env, name: string): string[] {
  return (env.text(name) ?? '')
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}
