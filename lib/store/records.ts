import type { FilterSettings, Quota, RateLimit, ScrubbingSettings } from '#gen/tideway/control/v1/resources_pb.ts';

/**
 * What the store answers and takes. Numbers of resources are bigint, as the contracts have them; times are ms since 1970.
 * Settings that are read whole are the contract's messages. In a patch, what is undefined stays as it is.
 */
export type State = 'active' | 'disabled';
export type Role = 'member' | 'admin' | 'owner';

export interface Organization {
  readonly id: bigint;
  readonly slug: string;
  readonly name: string;
  readonly state: State;
  readonly region: string;
  readonly quotas: readonly Quota[];
  readonly createdMs: number;
  readonly updatedMs: number;
  readonly etag: string;
}

export interface NewOrganization {
  /** Without it one is made of the name. */
  readonly slug?: string | undefined;
  readonly name: string;
  readonly region: string;
  readonly quotas?: readonly Quota[] | undefined;
  /** The user who becomes its owner, in the same step. */
  readonly ownerId?: string | undefined;
}

export interface OrganizationPatch {
  readonly slug?: string | undefined;
  readonly name?: string | undefined;
  readonly state?: State | undefined;
  readonly quotas?: readonly Quota[] | undefined;
}

export interface Project {
  readonly id: bigint;
  readonly organizationId: bigint;
  readonly slug: string;
  readonly name: string;
  readonly platform: string;
  readonly state: State;
  /** Of what relays see: also raised by changes of the keys and of the organization. */
  readonly revision: bigint;
  readonly allowedDomains: readonly string[];
  readonly filters: FilterSettings;
  readonly scrubbing: ScrubbingSettings;
  readonly quotas: readonly Quota[];
  readonly retentionDays: number;
  readonly createdMs: number;
  readonly updatedMs: number;
  readonly etag: string;
}

/** Without settings: every origin, no filters, scrubbing by default, no quotas, 90 days. */
export interface NewProject {
  /** Without it one is made of the name. */
  readonly slug?: string | undefined;
  readonly name: string;
  readonly platform?: string | undefined;
  readonly allowedDomains?: readonly string[] | undefined;
  readonly filters?: FilterSettings | undefined;
  readonly scrubbing?: ScrubbingSettings | undefined;
  readonly quotas?: readonly Quota[] | undefined;
  readonly retentionDays?: number | undefined;
}

export interface ProjectPatch extends Partial<Omit<NewProject, 'name'>> {
  readonly name?: string | undefined;
  readonly state?: State | undefined;
}

export interface ProjectKey {
  readonly id: bigint;
  readonly projectId: bigint;
  /** 32 hex digits, lower case. */
  readonly publicKey: string;
  readonly name: string;
  readonly state: State;
  readonly rateLimit: RateLimit | undefined;
  readonly createdMs: number;
  readonly updatedMs: number;
  readonly etag: string;
}

export interface NewProjectKey {
  readonly name: string;
  readonly rateLimit?: RateLimit | undefined;
}

export interface ProjectKeyPatch {
  readonly name?: string | undefined;
  readonly state?: State | undefined;
  /** null: none. */
  readonly rateLimit?: RateLimit | null | undefined;
}

export interface User {
  /** A UUID. */
  readonly id: string;
  /** As it was given; unique without regard to case. */
  readonly email: string;
  readonly name: string;
  readonly state: State;
  readonly createdMs: number;
}

export interface UserPatch {
  readonly email?: string | undefined;
  readonly name?: string | undefined;
  readonly state?: State | undefined;
}

export interface Member {
  readonly organizationId: bigint;
  readonly userId: string;
  readonly email: string;
  readonly role: Role;
  readonly createdMs: number;
}

export interface NewInvitation {
  readonly email: string;
  readonly role: Role;
  readonly expiresMs: number;
}

export interface Invitation {
  /** A UUID. */
  readonly id: string;
  readonly organizationId: bigint;
  readonly email: string;
  readonly role: Role;
  readonly expiresMs: number;
  readonly createdMs: number;
}

export interface NewApiToken {
  readonly name: string;
  readonly scopes: readonly string[];
  /** Without it: never. */
  readonly expiresMs?: number | undefined;
}

export interface ApiToken {
  /** A UUID. */
  readonly id: string;
  readonly organizationId: bigint;
  readonly name: string;
  readonly scopes: readonly string[];
  readonly state: State;
  readonly expiresMs: number | undefined;
  readonly createdMs: number;
  /** The start of the day (UTC) that it was last used on. */
  readonly lastUsedMs: number | undefined;
}

export interface Region {
  readonly name: string;
  readonly url: string;
}

export interface AuditEntry {
  readonly id: bigint;
  readonly timeMs: number;
  readonly actor: string;
  /** As in `project.update`. */
  readonly action: string;
  /** As in `projects/12`. */
  readonly target: string;
  /** What changed, by the contract's names; never values. */
  readonly fields: readonly string[];
}

/** All that is said to relays of one key. */
export interface KeyConfig {
  readonly publicKey: string;
  readonly keyId: bigint;
  /** Key, project and organization all are. */
  readonly active: boolean;
  readonly revision: bigint;
  readonly rateLimit: RateLimit | undefined;
  readonly project: Pick<
    Project,
    'id' | 'slug' | 'allowedDomains' | 'filters' | 'scrubbing' | 'quotas' | 'retentionDays'
  >;
  readonly organization: Pick<Organization, 'id' | 'slug' | 'region' | 'quotas'>;
}

export type ChangesResult =
  /** No keys: nothing changed after it. `more`: ask again at once. */
  | {
      readonly kind: 'changes';
      readonly publicKeys: readonly string[];
      readonly cursor: string;
      readonly more: boolean;
    }
  /** What changed is not known any more, or too much to tell. Forget everything, and go on from `cursor`. */
  | { readonly kind: 'reset'; readonly cursor: string };

export interface BootstrapInput {
  readonly organization: { readonly slug: string; readonly name: string; readonly region: string };
  readonly project: { readonly slug: string; readonly name: string };
  readonly token: { readonly name: string; readonly scopes: readonly string[] };
}

export interface Bootstrapped {
  readonly organization: Organization;
  /** Undefined where somebody has no such thing (any more): the first project, and its first active key. */
  readonly project: Project | undefined;
  readonly key: ProjectKey | undefined;
  /** Only from the call that made it. */
  readonly secret: string | undefined;
}
