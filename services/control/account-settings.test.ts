import { describe, expect, test } from 'vitest';
import { Env } from '#lib/server/env.ts';
import { accountSettings } from './account-settings.ts';

const OIDC = { OIDC_ISSUER: 'https://issuer.example/', OIDC_CLIENT_ID: 'id', OIDC_CLIENT_SECRET: 'secret' };
const PRODUCTION = { NODE_ENV: 'production', TIDEWAY_PUBLIC_URL: 'https://tideway.example' };
const read = (values: Record<string, string>) => accountSettings(new Env(values));

describe('accountSettings', () => {
  test('are open in development, and for the invited in production', () => {
    expect(read({})).toMatchObject({ signUp: 'open', secureCookies: false, oidc: undefined, redis: undefined });
    expect(read(PRODUCTION)).toMatchObject({ signUp: 'invited', secureCookies: true });
    expect(read({ ...PRODUCTION, SIGNUP: 'closed' }).signUp).toBe('closed');
    expect(read({ REDIS_URL: 'redis://localhost' }).redis).toMatchObject({ url: 'redis://localhost' });
  });

  test('name the provider whole, or not at all', () => {
    expect(read(OIDC).oidc).toEqual({
      issuer: 'https://issuer.example/',
      clientId: 'id',
      clientSecret: 'secret',
      allowHttp: true,
    });
    expect(read({ ...PRODUCTION, ...OIDC }).oidc?.allowHttp).toBe(false);
    // Some have a slash in their name, and are nobody without it.
    for (const OIDC_ISSUER of ['https://issuer.example/app/', 'https://issuer.example/app']) {
      expect(read({ ...OIDC, OIDC_ISSUER }).oidc?.issuer).toBe(OIDC_ISSUER);
    }
  });

  test.for([
    [{ SIGNUP: 'sometimes' }, 'SIGNUP must be one of open, invited, closed'],
    [{ OIDC_ISSUER: 'issuer.example' }, 'OIDC_ISSUER must be an http or https URL'],
    [{ OIDC_ISSUER: 'https://issuer.example' }, 'OIDC_CLIENT_ID is not set'],
    [{ ...PRODUCTION, ...OIDC, OIDC_ISSUER: 'http://issuer.example' }, 'OIDC_ISSUER must be an https URL'],
    [{ ...OIDC, NODE_ENV: 'production' }, 'TIDEWAY_PUBLIC_URL is not set'],
    [{ SESSION_IDLE_SEC: '5' }, 'SESSION_IDLE_SEC must be a whole number from 60 to 31536000'],
  ] as const)('refuse %j', ([values, message]) => {
    expect(() => read(values)).toThrow(message);
  });
});
