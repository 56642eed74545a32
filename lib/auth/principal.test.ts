import { expect, test } from 'vitest';
import { settingsToken, tokenPrincipal } from './principal.ts';

const bearer = (token: string) => new Headers({ authorization: `Bearer ${token}` });

test('a token is good in its organization, and has no part in another', async () => {
  const principal = tokenPrincipal({ id: 'a', organizationId: 7n, scopes: ['projects:write'] });
  expect(principal.actor).toBe('token:a');
  expect(await principal.scopesIn(7n)).toEqual(new Set(['projects:read', 'projects:write']));
  expect(await principal.scopesIn(8n)).toBeUndefined();
});

test('a token of the settings is good everywhere, for its scopes', async () => {
  const verifier = settingsToken('secret', ['streams:start']);
  const principal = await verifier.authenticate(bearer('secret'));
  expect(principal).toMatchObject({ actor: 'system', reach: { kind: 'installation' } });
  expect(await principal?.scopesIn(99n)).toEqual(new Set(['streams:start']));
});

test.each(['secre', 'secret2', 'SECRET', ''])('%j is not "secret"', async (guess) => {
  const verifier = settingsToken('secret', ['streams:start']);
  expect(await verifier.authenticate(bearer(guess))).toBeUndefined();
});

test('without a bearer token nobody is let in', async () => {
  const verifier = settingsToken('secret', ['streams:start']);
  expect(await verifier.authenticate(new Headers())).toBeUndefined();
  expect(await verifier.authenticate(new Headers({ authorization: 'Basic secret' }))).toBeUndefined();
});
