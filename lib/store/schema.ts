import type { AccountSchema } from './account-tables.ts';
import type { Role, State } from './records.ts';

/**
 * The tables, for both databases. Every whole number is 64 bits and read as bigint; times are ms since 1970. Settings
 * that are only ever read whole are the contract's JSON. `number` and `version` are numbers of mutations (store.ts, 2).
 */
export interface Schema extends AccountSchema {
  store_state: StoreStateTable;
  organizations: OrganizationTable;
  projects: ProjectTable;
  project_keys: ProjectKeyTable;
  users: UserTable;
  members: MemberTable;
  invitations: InvitationTable;
  api_tokens: ApiTokenTable;
  regions: RegionTable;
  audit_log: AuditLogTable;
  changes: ChangeTable;
}

/** One row. Who mutates holds its lock, so numbers rise in the order of commits. */
export interface StoreStateTable {
  id: bigint;
  /** The number of the last mutation. */
  number: bigint;
  /** Says which history cursors belong to; a restored database begins a new one. */
  history: string;
  /** Where it goes on: a database that finds itself elsewhere is a restored one (history.ts). */
  home: string;
}

export interface OrganizationTable {
  id: bigint;
  slug: string;
  name: string;
  state: State;
  region: string;
  quotas: string;
  created_ms: bigint;
  updated_ms: bigint;
  version: bigint;
}

export interface ProjectTable {
  id: bigint;
  organization_id: bigint;
  slug: string;
  name: string;
  platform: string;
  state: State;
  allowed_domains: string;
  filters: string;
  scrubbing: string;
  quotas: string;
  retention_days: bigint;
  created_ms: bigint;
  updated_ms: bigint;
  version: bigint;
  /** As version, but also of its keys' changes. What relays are told is the later of this and the organization's version. */
  revision: bigint;
}

export interface ProjectKeyTable {
  id: bigint;
  project_id: bigint;
  public_key: string;
  name: string;
  state: State;
  rate_limit: string | null;
  created_ms: bigint;
  updated_ms: bigint;
  version: bigint;
}

export interface UserTable {
  id: string;
  email: string;
  /** What addresses are compared by. */
  email_key: string;
  name: string;
  state: State;
  created_ms: bigint;
}

export interface MemberTable {
  organization_id: bigint;
  user_id: string;
  role: Role;
  created_ms: bigint;
  number: bigint;
}

export interface InvitationTable {
  id: string;
  organization_id: bigint;
  email: string;
  email_key: string;
  role: Role;
  secret_hash: string;
  expires_ms: bigint;
  created_ms: bigint;
  number: bigint;
}

export interface ApiTokenTable {
  id: string;
  organization_id: bigint;
  name: string;
  scopes: string;
  secret_hash: string;
  state: State;
  expires_ms: bigint | null;
  created_ms: bigint;
  last_used_ms: bigint | null;
  number: bigint;
}

export interface RegionTable {
  name: string;
  url: string;
}

export interface AuditLogTable {
  /** The mutation's number. */
  id: bigint;
  time_ms: bigint;
  actor: string;
  action: string;
  target: string;
  organization_id: bigint | null;
  fields: string;
}

/** What relays have to hear of. */
export interface ChangeTable {
  number: bigint;
  organization_id: bigint;
  /** null: all of the organization's. */
  project_id: bigint | null;
}
