import type { Role } from '#lib/store/records.ts';
import { SCOPES, type Scope, scopeSet } from './scopes.ts';

const NAMES: Readonly<Record<Role, readonly Scope[]>> = {
  member: ['projects:read', 'organization:read', 'members:read', 'events:read'],
  admin: ['projects:write', 'organization:read', 'members:read', 'events:read', 'streams:start'],
  owner: SCOPES,
};

/** What a role allows in its organization: as the contract says of Role. */
export const ROLE_SCOPES: Readonly<Record<Role, ReadonlySet<Scope>>> = {
  member: scopeSet(NAMES.member),
  admin: scopeSet(NAMES.admin),
  owner: scopeSet(NAMES.owner),
};

/** Those that allow all of it. */
export function rolesWith(scopes: Iterable<Scope>): Role[] {
  const asked = [...scopes];
  const roles = Object.keys(ROLE_SCOPES) as Role[];
  return roles.filter((role) => asked.every((scope) => ROLE_SCOPES[role].has(scope)));
}
