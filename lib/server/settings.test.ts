import { expect, test } from 'vitest';
import { Env } from './env.ts';
import { publishTokens } from './settings.ts';

test.each([
  { secret: 'short', problems: ['PUBLISH_JWT_SECRET has less than 32 bytes: who has a token can guess it'] },
  { secret: '0123456789abcdef0123456789abcdef', problems: [] },
])('production warns of a shared secret that can be guessed, and takes it: $secret', async ({ secret, problems }) => {
  const env = new Env({
    NODE_ENV: 'production',
    PUBLISH_JWT_SECRET: secret,
    PUBLISH_JWT_ISSUER: 'backend',
    PUBLISH_JWT_AUDIENCE: 'publish',
  });
  const found: string[] = [];
  const { signer } = await publishTokens(env, undefined, ({ message }) => found.push(message));
  expect(found).toEqual(problems);
  expect(signer).toBeDefined();
});
