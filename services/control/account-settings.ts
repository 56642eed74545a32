import type { SignUpMode } from '#lib/accounts/accounts.ts';
import type { OidcOptions } from '#lib/accounts/oidc.ts';
import type { RedisPlace } from '#lib/broker/redis-place.ts';
import { trustedHops } from '#lib/server/caller-address.ts';
import { ConfigError, type Env } from '#lib/server/env.ts';
import { commonSettings, httpUrl, publicUrl, sessionLimits } from '#lib/server/settings.ts';

/** What accounts read from the environment. @throws ConfigError */
export function accountSettings(env: Env) {
  return {
    signUp: signUpMode(env),
    oidc: oidcOptions(env),
    publicUrl: publicUrl(env),
    /** Production is behind TLS, or its passwords are anybody's. */
    secureCookies: env.isProduction,
    trustedHops: trustedHops(env),
    redis: redisPlace(env),
    sessionLimits: sessionLimits(env),
  };
}

const MODES: readonly SignUpMode[] = ['open', 'invited', 'closed'];

function signUpMode(env: Env): SignUpMode {
  const text = env.text('SIGNUP');
  if (text === undefined) return env.isProduction ? 'invited' : 'open';
  const mode = MODES.find((known) => known === text);
  if (mode === undefined) throw new ConfigError(`SIGNUP must be one of ${MODES.join(', ')}`);
  return mode;
}

/** Undefined: each process counts attempts for itself. */
function redisPlace(env: Env): RedisPlace | undefined {
  const { redisUrl, ...place } = commonSettings(env).broker;
  return redisUrl === undefined ? undefined : { url: redisUrl, ...place };
}

function oidcOptions(env: Env): OidcOptions | undefined {
  if (httpUrl(env, 'OIDC_ISSUER') === undefined) return undefined;
  // As the provider writes it: compared with what it says of itself, where a slash at the end counts.
  const issuer = env.required('OIDC_ISSUER');
  if (env.isProduction && !issuer.startsWith('https:')) throw new ConfigError('OIDC_ISSUER must be an https URL');
  // Where the provider sends browsers back to is registered there, and can't be what a caller says.
  if (env.isProduction) env.required('TIDEWAY_PUBLIC_URL');
  return {
    issuer,
    clientId: env.required('OIDC_CLIENT_ID'),
    clientSecret: env.required('OIDC_CLIENT_SECRET'),
    allowHttp: !env.isProduction,
  };
}
