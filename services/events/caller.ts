import type { Principal } from '#lib/auth/principal.ts';
import type { EventStore } from '#lib/event-store/event-store.ts';
import { type Reachable, reachOrganization, reachProject } from '#lib/server/reach.ts';
import type { Project } from '#lib/store/records.ts';

/** What the calls of this service work with. */
export interface EventReading extends Reachable {
  readonly events: EventStore;
  readonly now: () => number;
}

/** What a request is about: an organization, and one of its projects or all. */
export interface Whose {
  readonly organizationId: bigint;
  /** Undefined: all. */
  readonly projectId: bigint | undefined;
}

/** @throws Refusal `not_found`, `scope_missing` */
export async function reachEvents(
  reading: EventReading,
  principal: Principal,
  path: { readonly organization: string; readonly project: string },
): Promise<Whose> {
  if (path.project === '') {
    const { id } = await reachOrganization(reading, principal, path, 'events:read');
    return { organizationId: id, projectId: undefined };
  }
  const { id, organizationId } = await reachProjectEvents(reading, principal, path);
  return { organizationId, projectId: id };
}

/** @throws Refusal `not_found`, `scope_missing` */
export function reachProjectEvents(
  reading: EventReading,
  principal: Principal,
  path: { readonly organization: string; readonly project: string },
): Promise<Project> {
  return reachProject(reading, principal, path, 'events:read');
}
