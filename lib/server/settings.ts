import { createPublicKey } from 'node:crypto';
import type { SessionLimits } from '#lib/accounts/accounts.ts';
import { type DevelopmentKeys, isDevelopmentSecret, loadOrCreateDevelopmentKeys } from '#lib/auth/development-keys.ts';
import { keysFromJwksFile } from '#lib/auth/jwks-file.ts';
import { keysFromJwksUrl } from '#lib/auth/jwks-url.ts';
import { normalizePem } from '#lib/auth/key-pem.ts';
import { type KeySource, keysFromPem, keysFromSecret } from '#lib/auth/key-source.ts';
import { createPublishTokenVerifier, type PublishTokenVerifier } from '#lib/auth/publish-token.ts';
import { createPublishTokenSigner, type PublishTokenSigner } from '#lib/auth/publish-token-signer.ts';
import { createStreamTokenVerifier, type StreamTokenVerifier } from '#lib/auth/stream-token.ts';
import { createStreamTokenSigner, type StreamTokenSigner } from '#lib/auth/stream-token-signer.ts';
import { DEFAULT_RETENTION } from '#lib/broker/broker.ts';
import type { OpenBrokerOptions } from '#lib/broker/open-broker.ts';
import type { OpenStoreOptions } from '#lib/store/open-store.ts';
import { ConfigError, type Env } from './env.ts';

/**
 * What several services read from the environment, under Conduit's names where Conduit has one. In production everything
 * about tokens must be set and nothing may be a development key; in development what is not set comes from the keys under
 * TIDEWAY_DATA_DIR, and what is set wins.
 */
export interface CommonSettings {
  readonly host: string;
  readonly broker: OpenBrokerOptions;
  readonly drainTimeoutMs: number;
  readonly logLevel: string;
  readonly isProduction: boolean;
}

const DEVELOPMENT_NAME = 'tideway';
const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];
/** Of what is typed into a settings file, and can be guessed at from anywhere. */
const MIN_OPERATOR_TOKEN_LENGTH = 32;
/** As many as the hash has (RFC 7518 section 3.2): a shorter one can be looked for with one token in hand, without asking us. */
const MIN_SHARED_SECRET_BYTES = 32;
const DAY_SEC = 86_400;
const STREAM_TOKEN_TTL_SEC = 3600;
/** Renewed at each start. */
const DEVELOPMENT_PUBLISH_TOKEN_TTL_SEC = 30 * DAY_SEC;

export function commonSettings(env: Env): CommonSettings {
  return {
    // Development keys are on the page: nobody but this machine gets at them unless it is asked for.
    host: env.text('TIDEWAY_HOST') ?? (env.isProduction ? '0.0.0.0' : '127.0.0.1'),
    broker: brokerSettings(env),
    drainTimeoutMs: env.secondsAsMs('DRAIN_TIMEOUT_SEC', 30, 1, 3600),
    logLevel: logLevel(env),
    isProduction: env.isProduction,
  };
}

function logLevel(env: Env): string {
  const level = env.text('LOG_LEVEL') ?? (env.isProduction ? 'info' : 'warn');
  if (!LOG_LEVELS.includes(level)) throw new ConfigError(`LOG_LEVEL must be one of ${LOG_LEVELS.join(', ')}`);
  return level;
}

function brokerSettings(env: Env): OpenBrokerOptions {
  const { maxEntries, minAgeMs, maxBytes } = DEFAULT_RETENTION;
  return {
    redisUrl: env.text('REDIS_URL'),
    tls: {
      caFile: env.readableFile('REDIS_TLS_CA_FILE'),
      certFile: env.readableFile('REDIS_TLS_CERT_FILE'),
      keyFile: env.readableFile('REDIS_TLS_KEY_FILE'),
      serverName: env.text('REDIS_TLS_SERVER_NAME'),
    },
    sentinelUsername: env.text('REDIS_SENTINEL_USERNAME'),
    sentinelPassword: env.text('REDIS_SENTINEL_PASSWORD'),
    waitReplicas: env.integer('PUBLISH_WAIT_REPLICAS', 0, 0, 10),
    retention: {
      maxEntries: env.integer('STREAM_RETAIN_MESSAGES', maxEntries, 1, 1_000_000),
      minAgeMs: env.secondsAsMs('STREAM_RETAIN_SEC', minAgeMs / 1000, 0, 86_400),
      maxBytes: env.integer('STREAM_RETAIN_MAX_BYTES', maxBytes, 65_536, 1 << 30),
    },
  };
}

/** The broker of services that run apart: they meet in Redis, without it each would have one of its own. */
export function sharedBroker(env: Env, common: CommonSettings): OpenBrokerOptions {
  return { ...common.broker, redisUrl: env.required('REDIS_URL') };
}

export function dataDir(env: Env): string {
  return env.text('TIDEWAY_DATA_DIR') ?? '.tideway';
}

/** Undefined in production: there, nothing is made up. */
export async function developmentKeys(env: Env): Promise<DevelopmentKeys | undefined> {
  return env.isProduction ? undefined : loadOrCreateDevelopmentKeys(dataDir(env));
}

export interface PublishTokens {
  readonly verifier: PublishTokenVerifier;
  /** Signs with the shared secret, where there is one. */
  readonly signer: PublishTokenSigner | undefined;
}

/** HS256 by a shared secret as Conduit has it, public keys for publishers who sign for themselves, or both. @throws ConfigError */
export async function publishTokens(
  env: Env,
  development: DevelopmentKeys | undefined,
  onProblem: (error: Error) => void,
): Promise<PublishTokens> {
  const issuer = nameOf(env, 'PUBLISH_JWT_ISSUER');
  const audience = nameOf(env, 'PUBLISH_JWT_AUDIENCE');
  const name = 'PUBLISH_JWT_SECRET';
  const publicKeys = await publicKeysOf(env, 'PUBLISH_JWT', onProblem);
  const secret =
    secretOf(env, name) ?? (publicKeys === undefined ? (development?.publishSecret ?? env.required(name)) : undefined);
  // It is taken, as Conduit takes it.
  if (env.isProduction && secret !== undefined && Buffer.byteLength(secret) < MIN_SHARED_SECRET_BYTES) {
    onProblem(new ConfigError(`${name} has less than ${MIN_SHARED_SECRET_BYTES} bytes: who has a token can guess it`));
  }
  const keys = [publicKeys, secret === undefined ? undefined : keysFromSecret({ name, secret })];
  return {
    verifier: createPublishTokenVerifier({ keys: keys.filter((source) => source !== undefined), issuer, audience }),
    signer:
      secret === undefined
        ? undefined
        : createPublishTokenSigner({ name, secret, issuer, audience, ttlSec: DEVELOPMENT_PUBLISH_TOKEN_TTL_SEC }),
  };
}

export interface StreamTokens {
  readonly verifier: StreamTokenVerifier;
  readonly signer: StreamTokenSigner | undefined;
}

/** @throws ConfigError */
export async function streamTokens(
  env: Env,
  development: DevelopmentKeys | undefined,
  onProblem: (error: Error) => void,
): Promise<StreamTokens> {
  const issuer = nameOf(env, 'GATEWAY_JWT_ISSUER');
  const audience = nameOf(env, 'GATEWAY_JWT_AUDIENCE');
  const name = 'GATEWAY_JWT_PRIVATE_KEY';
  let privateKey = secretOf(env, name);
  let keys = await publicKeysOf(env, 'GATEWAY_JWT', onProblem);
  if (keys === undefined) {
    privateKey ??= development?.privateKeyPem;
    if (privateKey === undefined) {
      throw new ConfigError('GATEWAY_JWT_PUBLIC_KEY (or GATEWAY_JWT_JWKS, or GATEWAY_JWT_PRIVATE_KEY) is not set');
    }
    keys = keysFromPem({ name, pem: publicKeyOf(privateKey) });
  }
  const keyId = env.text('GATEWAY_JWT_KEY_ID');
  return {
    verifier: createStreamTokenVerifier({ keys, issuer, audience }),
    signer:
      privateKey === undefined
        ? undefined
        : createStreamTokenSigner({
            name,
            privateKeyPem: privateKey,
            issuer,
            audience,
            ttlSec: STREAM_TOKEN_TTL_SEC,
            ...(keyId === undefined ? {} : { keyId }),
          }),
  };
}

/** What applications may start streams with, beside API tokens that have the scope for it. @throws ConfigError */
export function startToken(env: Env): string | undefined {
  return secretOf(env, 'TIDEWAY_API_TOKEN');
}

/**
 * What those who operate Tideway manage every organization with. In development there always is one.
 * @throws ConfigError
 */
export function operatorToken(env: Env, development: DevelopmentKeys | undefined): string | undefined {
  const name = 'TIDEWAY_OPERATOR_TOKEN';
  const secret = secretOf(env, name);
  if (secret !== undefined && secret.length < MIN_OPERATOR_TOKEN_LENGTH) {
    throw new ConfigError(`${name} must have at least ${MIN_OPERATOR_TOKEN_LENGTH} characters`);
  }
  return secret ?? development?.apiToken;
}

/** Where the data of the control plane is. */
export function storeSettings(env: Env): OpenStoreOptions {
  return { databaseUrl: env.text('DATABASE_URL'), dataDir: dataDir(env) };
}

/** When sessions end: unused, and in any case. Every service that takes them must know the same. */
export function sessionLimits(env: Env): SessionLimits {
  return {
    idleMs: env.secondsAsMs('SESSION_IDLE_SEC', 14 * DAY_SEC, 60, 365 * DAY_SEC),
    maxAgeMs: env.secondsAsMs('SESSION_MAX_AGE_SEC', 90 * DAY_SEC, 60, 365 * DAY_SEC),
  };
}

/** Where clients reach the edge: a part of the URLs and DSNs that they are told. @throws ConfigError */
export function publicUrl(env: Env): string | undefined {
  return httpUrl(env, 'TIDEWAY_PUBLIC_URL');
}

/** An http or https URL without a trailing slash. @throws ConfigError */
export function httpUrl(env: Env, setting: string): string | undefined {
  const text = env.text(setting);
  if (text === undefined) return undefined;
  if (!URL.canParse(text) || !/^https?:/.test(text)) throw new ConfigError(`${setting} must be an http or https URL`);
  return text.replace(/\/+$/, '');
}

/** `<prefix>_JWKS` (a path or a URL), else `<prefix>_PUBLIC_KEY` (PEM), else none. */
async function publicKeysOf(
  env: Env,
  prefix: 'GATEWAY_JWT' | 'PUBLISH_JWT',
  onProblem: (error: Error) => void,
): Promise<KeySource | undefined> {
  const jwks = env.text(`${prefix}_JWKS`);
  if (jwks !== undefined) {
    const name = `${prefix}_JWKS`;
    return /^https?:/.test(jwks)
      ? keysFromJwksUrl({ name, url: jwks, onProblem })
      : await keysFromJwksFile({ name, path: jwks, onProblem });
  }
  const name = `${prefix}_PUBLIC_KEY`;
  const pem = secretOf(env, name);
  return pem === undefined ? undefined : keysFromPem({ name, pem });
}

function nameOf(env: Env, setting: string): string {
  return env.text(setting) ?? (env.isProduction ? env.required(setting) : DEVELOPMENT_NAME);
}

function secretOf(env: Env, setting: string): string | undefined {
  const value = env.text(setting);
  if (value !== undefined && env.isProduction && isDevelopmentSecret(value)) {
    throw new ConfigError(`${setting} is a development key, which production refuses`);
  }
  return value;
}

function publicKeyOf(privateKeyPem: string): string {
  try {
    return createPublicKey(normalizePem(privateKeyPem)).export({ type: 'spki', format: 'pem' }).toString();
  } catch {
    throw new ConfigError('GATEWAY_JWT_PRIVATE_KEY is not a private key in PEM form');
  }
}
