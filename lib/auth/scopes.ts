/** What can be allowed to somebody within an organization. The contract of ApiToken has the same list. */
export const SCOPES = [
  'streams:start',
  'projects:read',
  'projects:write',
  'organization:read',
  'organization:write',
  'members:read',
  'members:write',
  'events:read',
] as const;

export type Scope = (typeof SCOPES)[number];

/** The scopes of a list, with those that they include: who may write may read. What is not known allows nothing. */
export function scopeSet(names: Iterable<string>): ReadonlySet<Scope> {
  const scopes = new Set<Scope>();
  for (const name of names) {
    if (!isScope(name)) continue;
    scopes.add(name);
    const read = name.replace(/:write$/, ':read');
    if (isScope(read)) scopes.add(read);
  }
  return scopes;
}

function isScope(name: string): name is Scope {
  return (SCOPES as readonly string[]).includes(name);
}
