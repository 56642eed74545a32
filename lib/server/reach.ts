import type { Principal } from '#lib/auth/principal.ts';
import type { Scope } from '#lib/auth/scopes.ts';
import type { Organization, Project } from '#lib/store/records.ts';
import type { Store } from '#lib/store/store.ts';
import type { Gate } from './gate.ts';
import { Refusal } from './refusal.ts';

/** Who knows what there is, and who may see it. */
export interface Reachable {
  readonly gate: Gate;
  readonly store: Pick<Store, 'organizations' | 'projects'>;
}

/** The organization of a path, if the principal has the scope in it. @throws Refusal `not_found`, `scope_missing` */
export async function reachOrganization(
  { gate, store }: Reachable,
  principal: Principal,
  path: { readonly organization: string },
  scope: Scope,
): Promise<Organization> {
  const organization = found(await store.organizations.get(path.organization));
  await gate.requireScope(principal, organization.id, scope);
  return organization;
}

/** The same for a project. Whether there is one is told only to who has the scope. */
export async function reachProject(
  reachable: Reachable,
  principal: Principal,
  path: { readonly organization: string; readonly project: string },
  scope: Scope,
): Promise<Project> {
  const organization = await reachOrganization(reachable, principal, path, scope);
  return found(await reachable.store.projects.get(organization.id, path.project));
}

/** @throws Refusal `not_found` */
export function found<T>(record: T | undefined): T {
  if (record === undefined) throw new Refusal('not_found');
  return record;
}
