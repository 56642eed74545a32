import { v5 } from 'uuid';

/** Of the names that Tideway makes UUIDs of. Never changed: who listens knows them. */
const NAMESPACE = 'edcb78d0-951a-4e10-b12a-9e7cb1cc6cfd';

/** The channel on which a project's accepted events are published, in its organization. */
export function projectChannelId(organizationId: bigint, projectId: bigint): string {
  return v5(`organizations/${organizationId}/projects/${projectId}`, NAMESPACE);
}
