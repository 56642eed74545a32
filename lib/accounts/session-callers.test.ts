import { describe, expect, test } from 'vitest';
import type { Role } from '#lib/store/records.ts';
import { createSessionCallers } from './session-callers.ts';
import { sessionCookie } from './session-cookie.ts';

const TOKEN = `tws_${'a'.repeat(43)}`;
const session = {
  id: 'session',
  user: { id: 'ann', email: 'ann@example.com', name: 'Ann', state: 'active', createdMs: 0 },
  createdMs: 0,
  expiresMs: 1,
} as const;

/** Ann is signed in, and has this role in organization 1. */
function callersWith(role: Role) {
  return createSessionCallers({
    accounts: { session: async (token) => (token === TOKEN ? session : undefined) },
    members: {
      get: async (organizationId, userId) =>
        organizationId === 1n && userId === 'ann'
          ? { organizationId, userId, email: session.user.email, role, createdMs: 0 }
          : undefined,
    },
    cookie: sessionCookie({ secure: false }),
    publicOrigin: 'https://tideway.example',
  });
}

describe('who has a session', () => {
  test.for([
    ['member', ['events:read', 'members:read', 'organization:read', 'projects:read']],
    ['admin', ['events:read', 'members:read', 'organization:read', 'projects:read', 'projects:write', 'streams:start']],
    [
      'owner',
      [
        ...['events:read', 'members:read', 'members:write', 'organization:read', 'organization:write'],
        ...['projects:read', 'projects:write', 'streams:start'],
      ],
    ],
  ] as const)('may do as %s what the contract says, and nothing elsewhere', async ([role, scopes]) => {
    const principal = await callersWith(role).authenticate(new Headers({ authorization: `Bearer ${TOKEN}` }));
    expect(principal).toMatchObject({ actor: 'user:ann', reach: { kind: 'memberships', userId: 'ann' } });
    expect([...((await principal?.scopesIn(1n)) ?? [])].sort()).toEqual(scopes);
    expect(await principal?.scopesIn(2n)).toBeUndefined();
  });

  test.for([
    [{ authorization: `Bearer ${TOKEN}` }, true],
    [{ cookie: `tideway_session=${TOKEN}`, 'sec-fetch-site': 'same-origin' }, true],
    [{ cookie: `tideway_session=${TOKEN}`, origin: 'https://tideway.example' }, true],
    [{ cookie: `tideway_session=${TOKEN}`, origin: 'https://evil.example' }, false],
    [{ cookie: `tideway_session=${TOKEN}`, 'sec-fetch-site': 'cross-site' }, false],
    [{ cookie: `tideway_session=${TOKEN}` }, false],
    // A header that says somebody else is not overruled by a cookie.
    [{ cookie: `tideway_session=${TOKEN}`, 'sec-fetch-site': 'same-origin', authorization: 'Bearer other' }, false],
    [{}, false],
  ] as const)('%j is one: %s', async ([headers, isOne]) => {
    expect((await callersWith('member').authenticate(new Headers(headers))) !== undefined).toBe(isOne);
  });
});
