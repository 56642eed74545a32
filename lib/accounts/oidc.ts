import * as client from 'openid-client';
import type { Identity } from './accounts.ts';

/**
 * Sign-in at an OpenID provider: authorization code flow with PKCE, state and nonce. The library checks what comes back
 * (issuer, audience, signature, times, nonce); what is here says what is asked, and what of the answer is believed.
 */
export interface OidcProvider {
  /** Where to send the browser, and what it has to bring back. @throws OidcAwayError */
  begin(redirectUri: string): Promise<{ readonly url: string; readonly flow: OidcFlow }>;
  /** Who came back. `query` is the redirect's. @throws OidcRefusedError, OidcAwayError */
  finish(redirectUri: string, query: string, flow: OidcFlow): Promise<Identity>;
}

/** Known to the browser that began alone: another browser's answer is worth nothing in it, and its own nothing elsewhere. */
export interface OidcFlow {
  readonly state: string;
  readonly nonce: string;
  readonly codeVerifier: string;
}

export interface OidcOptions {
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** The issuer may be reached by plain http. Development only. */
  readonly allowHttp: boolean;
}

/** The provider is away, slow, or answers nonsense. */
export class OidcAwayError extends Error {
  override readonly name = 'OidcAwayError';
  readonly retryAfterMs = 1_000;
}

/** The provider said no, or what came back does not belong to what was begun. Nothing secret in it. */
export class OidcRefusedError extends Error {
  override readonly name = 'OidcRefusedError';
}

const TIMEOUT_SEC = 5;
/** Sign-ins that wait for the provider. Anybody can make up more, without ever having been there. */
export const MAX_FINISHING = 100;
/** Providers move their endpoints and announce it there. */
const DISCOVERY_MAX_AGE_MS = 3_600_000;
const MAX_SUBJECT_LENGTH = 255;
const MAX_NAME_LENGTH = 100;
const MAX_EMAIL_LENGTH = 254;
const EMAIL_FORM = /^[^\s@\p{Cc}]+@[^\s@\p{Cc}]+$/u;

export function createOidcProvider(options: OidcOptions): OidcProvider {
  const discovered = discovery(options);
  let finishing = 0;
  return {
    async begin(redirectUri) {
      const config = await discovered();
      const flow: OidcFlow = {
        state: client.randomState(),
        nonce: client.randomNonce(),
        codeVerifier: client.randomPKCECodeVerifier(),
      };
      const url = client.buildAuthorizationUrl(config, {
        redirect_uri: redirectUri,
        scope: 'openid email profile',
        code_challenge: await client.calculatePKCECodeChallenge(flow.codeVerifier),
        code_challenge_method: 'S256',
        state: flow.state,
        nonce: flow.nonce,
      });
      return { url: url.href, flow };
    },
    async finish(redirectUri, query, flow) {
      if (finishing >= MAX_FINISHING) throw new OidcAwayError('too many sign-ins wait for the OpenID provider');
      finishing++;
      try {
        const config = await discovered();
        return await identityOf(config, new URL(`${redirectUri}?${query}`), flow);
      } catch (error) {
        if (error instanceof OidcAwayError) throw error;
        throw isAway(error)
          ? new OidcAwayError('the OpenID provider is away', { cause: error })
          : new OidcRefusedError('the OpenID provider did not confirm the sign-in', { cause: error });
      } finally {
        finishing--;
      }
    },
  };
}

async function identityOf(config: client.Configuration, url: URL, flow: OidcFlow): Promise<Identity> {
  const tokens = await client.authorizationCodeGrant(config, url, {
    expectedState: flow.state,
    expectedNonce: flow.nonce,
    pkceCodeVerifier: flow.codeVerifier,
    idTokenExpected: true,
  });
  const claims = tokens.claims();
  if (claims === undefined || claims.sub.length > MAX_SUBJECT_LENGTH || /\p{Cc}/u.test(claims.sub)) {
    throw new OidcRefusedError('the ID token names nobody');
  }
  // Many providers tell the address there alone.
  const hasAddress = claims['email'] !== undefined || config.serverMetadata().userinfo_endpoint === undefined;
  const profile: Readonly<Record<string, unknown>> = hasAddress
    ? claims
    : await client.fetchUserInfo(config, tokens.access_token, claims.sub);
  const { email, email_verified: isVerified, name } = profile;
  return {
    issuer: claims.iss,
    subject: claims.sub,
    verifiedEmail: isVerified === true && isEmail(email) ? email : undefined,
    name:
      typeof name === 'string'
        ? name
            .replace(/\p{Cc}/gu, ' ')
            .trim()
            .slice(0, MAX_NAME_LENGTH)
        : '',
  };
}

function isEmail(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_EMAIL_LENGTH && EMAIL_FORM.test(value);
}

/** Asked once by all who wait, again when it is old; what is old serves where the provider is away. */
function discovery({ issuer, clientId, clientSecret, allowHttp }: OidcOptions): () => Promise<client.Configuration> {
  let known: { readonly config: client.Configuration; readonly atMs: number } | undefined;
  let asking: Promise<client.Configuration> | undefined;

  async function ask(): Promise<client.Configuration> {
    try {
      const config = await client.discovery(new URL(issuer), clientId, clientSecret, undefined, {
        timeout: TIMEOUT_SEC,
        execute: allowHttp ? [client.allowInsecureRequests] : [],
      });
      known = { config, atMs: performance.now() };
      return config;
    } catch (error) {
      if (known !== undefined) return known.config;
      throw new OidcAwayError('the OpenID provider can not be discovered', { cause: error });
    } finally {
      asking = undefined;
    }
  }

  return () => {
    if (known !== undefined && performance.now() - known.atMs < DISCOVERY_MAX_AGE_MS) {
      return Promise.resolve(known.config);
    }
    asking ??= ask();
    return asking;
  };
}

/** Whether the provider could not be reached or failed, in contrast to having said no. */
function isAway(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof TypeError && cause.message === 'fetch failed') return true;
    if (!('code' in cause)) continue;
    if (cause.code === 'OAUTH_TIMEOUT') return true;
    if (cause.code === 'OAUTH_RESPONSE_IS_NOT_CONFORM' && cause.cause instanceof Response) {
      return cause.cause.status >= 500;
    }
  }
  return false;
}
