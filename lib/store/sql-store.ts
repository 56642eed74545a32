import { sql } from 'kysely';
import { withDeadline } from '#lib/sql/deadline.ts';
import { Access } from './access.ts';
import { createApiTokens } from './api-tokens.ts';
import { createAuditLog } from './audit-log.ts';
import { bootstrap } from './bootstrap.ts';
import { ChangeHints } from './change-hints.ts';
import { createChangeLog } from './change-log.ts';
import type { Database } from './database.ts';
import { createInvitations } from './invitations.ts';
import { createKeyConfigs } from './key-configs.ts';
import { createMembers } from './members.ts';
import { createOrganizations } from './organizations.ts';
import { createProjectKeys } from './project-keys.ts';
import { createProjects } from './projects.ts';
import { createRegions } from './regions.ts';
import type { Store } from './store.ts';
import { createUsers } from './users.ts';

/** The store on an open database, which it closes with itself. */
export function createStore(database: Database): Store {
  const access = new Access(database);
  const hints = new ChangeHints(access);
  let closed: Promise<void> | undefined;
  return {
    kind: database.kind,
    organizations: createOrganizations(access),
    projects: createProjects(access),
    keys: createProjectKeys(access),
    users: createUsers(access),
    members: createMembers(access),
    invitations: createInvitations(access),
    apiTokens: createApiTokens(access),
    regions: createRegions(access),
    audit: createAuditLog(access),
    configs: createKeyConfigs(access),
    changes: createChangeLog(access, hints),
    bootstrap: (input) => bootstrap(access, input),
    ping: async (timeoutMs) => {
      await withDeadline(
        access.read((db) => sql`select 1`.execute(db)),
        timeoutMs,
      );
    },
    close: () => {
      hints.close();
      closed ??= access.close().then(() => database.close());
      return closed;
    },
  };
}
