import type {
  ApiToken,
  AuditEntry,
  BootstrapInput,
  Bootstrapped,
  ChangesResult,
  Invitation,
  KeyConfig,
  Member,
  NewApiToken,
  NewInvitation,
  NewOrganization,
  NewProject,
  NewProjectKey,
  Organization,
  OrganizationPatch,
  Project,
  ProjectKey,
  ProjectKeyPatch,
  ProjectPatch,
  Region,
  Role,
  User,
  UserPatch,
} from './records.ts';

/**
 * The store keeps the data of the control plane. It runs on SQLite (one folder, one machine) and on PostgreSQL, by the
 * same queries, gives the same guarantees on both, and runs the same suite:
 *
 * 1. *Durable.* What a mutation resolved with survives kill -9 of any process and a crash of the machine. A mutation that
 *    threw StoreUnavailableError may have happened; one that threw StoreRefusal has not. What waited for longer than
 *    {@link STORE_DEADLINE_MS} is not begun any more.
 * 2. *One writer at a time.* Mutations are serialized over all processes, each in one transaction with its entry of the
 *    audit log and of the change log. Each has a number of its own, rising in the order of commits: the id of its audit
 *    entry, the revision of what relays see through it, and its place in the change log are that number.
 * 3. *Revisions.* Every change of a project, of one of its keys or of its organization raises the project's revision.
 *    A mutation that changes nothing has no number, no audit entry, and answers what is there.
 * 4. *Etags.* A resource's etag changes with every change of its own. With `etag` an update happens only if it is still
 *    the one given.
 * 5. *Nothing is lost to watchers.* A cursor answers every later change, also after a restart, until
 *    {@link RETAINED_CHANGES} later mutations; then, and after a restore, `reset`. {@link ChangeLog.onChange} is a hint
 *    that may come too often, at the latest {@link MAX_HINT_DELAY_MS} after a commit while the database is there.
 * 6. *A role counts at the moment of the change*: what waited is not done any more for who has lost it ({@link Mandate}).
 * 7. *Nothing is deleted* but memberships and invitations: a public key and an id mean the same for ever, a slug until it is
 *    changed; then another may have it.
 *
 * Reads answer undefined for what does not exist; mutations refuse. All methods throw StoreUnavailableError within
 * {@link STORE_DEADLINE_MS} where the database is away, full or too slow, and at once where too much is asked of it: by one
 * organization before by all. Inputs are checked by the contract's rules before they come here; the store checks what only
 * it can know: uniqueness, existence, etags, the last owner.
 */
export interface Store {
  /** What it is called in health answers. */
  readonly kind: 'sqlite' | 'postgres';
  readonly organizations: Organizations;
  readonly projects: Projects;
  readonly keys: ProjectKeys;
  readonly users: Users;
  readonly members: Members;
  readonly invitations: Invitations;
  readonly apiTokens: ApiTokens;
  readonly regions: Regions;
  readonly audit: AuditLog;
  readonly configs: KeyConfigs;
  readonly changes: ChangeLog;

  /**
   * The first start: where there is no organization, makes one (number 1), with a project, a key, and a token whose
   * secret is answered this once. Afterwards, and for all but one of many that start at once, answers what the first
   * organization has.
   */
  bootstrap(input: BootstrapInput): Promise<Bootstrapped>;

  /** Resolves if the database answers within `timeoutMs`. @throws StoreUnavailableError */
  ping(timeoutMs: number): Promise<void>;

  /** Ends all connections and hints. Idempotent; never throws. */
  close(): Promise<void>;
}

/** Who changes something: for the audit log. */
export type Actor = `user:${string}` | `token:${string}` | 'system';

/**
 * Who was let in for one of these roles in an organization; a token for itself. A mutation asks again when it has the lock,
 * and refuses `not_found` who is a member no more or whose token ended, `role_lost` whose role is another by then. An actor
 * alone is asked nothing.
 */
export interface Mandate {
  readonly actor: Actor;
  readonly organizationId: bigint;
  readonly roles: readonly Role[];
}

export type By = Actor | Mandate;

/** A number, or what a path says: digits are a number, anything else is a slug. */
export type Ref = bigint | string;

export interface PageRequest {
  /**
   * Up to {@link MAX_PAGE_SIZE}, more is taken as that; 0 and undefined: {@link DEFAULT_PAGE_SIZE}. Fewer are answered where
   * they are large.
   */
  readonly pageSize?: number | undefined;
  /** Of the page before; empty: the first. One of another query is refused as `page_token`. */
  readonly pageToken?: string | undefined;
}

export interface Page<T> {
  readonly items: T[];
  /** Empty on the last page. */
  readonly nextPageToken: string;
}

export interface UpdateOptions {
  /** Refuse as `etag` where the resource has another one by now. Empty and undefined: update whatever is there. */
  readonly etag?: string | undefined;
}

export interface Organizations {
  /** Refuses `slug_taken`; `not_found` for the owner. */
  create(actor: Actor, input: NewOrganization): Promise<Organization>;
  get(organization: Ref): Promise<Organization | undefined>;
  /** By number, rising: all, those that a user is a member of, or those named. */
  list(
    query: PageRequest & { readonly userId?: string | undefined; readonly ids?: readonly bigint[] | undefined },
  ): Promise<Page<Organization>>;
  /** Refuses `not_found`, `etag`, `slug_taken`. */
  update(by: By, id: bigint, patch: OrganizationPatch, options?: UpdateOptions): Promise<Organization>;
}

/** A project is found through its organization only: another organization's is not found. */
export interface Projects {
  /** Makes its first key too. Refuses `not_found` for the organization, `slug_taken`. */
  create(by: By, organizationId: bigint, input: NewProject): Promise<Project>;
  get(organizationId: bigint, project: Ref): Promise<Project | undefined>;
  /** By number, rising. */
  list(organizationId: bigint, query: PageRequest): Promise<Page<Project>>;
  /** Refuses `not_found`, `etag`, `slug_taken`. */
  update(by: By, organizationId: bigint, id: bigint, patch: ProjectPatch, options?: UpdateOptions): Promise<Project>;
}

/** Callers have found the project through its organization. */
export interface ProjectKeys {
  /** Refuses `not_found` for the project. */
  create(by: By, projectId: bigint, input: NewProjectKey): Promise<ProjectKey>;
  get(projectId: bigint, publicKey: string): Promise<ProjectKey | undefined>;
  /** By number, rising. */
  list(projectId: bigint, query: PageRequest): Promise<Page<ProjectKey>>;
  /** Refuses `not_found`, `etag`. */
  update(
    by: By,
    projectId: bigint,
    publicKey: string,
    patch: ProjectKeyPatch,
    options?: UpdateOptions,
  ): Promise<ProjectKey>;
  /** In one step, disables it and makes another with its name and limit; answers that. Refuses `not_found`, `etag`. */
  rotate(by: By, projectId: bigint, publicKey: string, options?: UpdateOptions): Promise<ProjectKey>;
}

/** Users of all organizations. How they prove who they are is not kept here. Addresses are compared without case. */
export interface Users {
  /** Refuses `email_taken`. */
  create(actor: Actor, input: { readonly email: string; readonly name: string }): Promise<User>;
  get(id: string): Promise<User | undefined>;
  findByEmail(email: string): Promise<User | undefined>;
  /** Refuses `not_found`, `email_taken`. */
  update(actor: Actor, id: string, patch: UserPatch): Promise<User>;
}

/**
 * An organization that has an owner keeps one: taking the last one's role away is refused as `last_owner`. Disabled users
 * don't count, and join nothing; to disable the last owner is not refused, as it may have to be done at once.
 */
export interface Members {
  /** Refuses `not_found` for organization or user, `member_exists`. */
  add(actor: Actor, organizationId: bigint, userId: string, role: Role): Promise<Member>;
  get(organizationId: bigint, userId: string): Promise<Member | undefined>;
  /** By when they joined. */
  list(organizationId: bigint, query: PageRequest): Promise<Page<Member>>;
  /** Refuses `not_found`, `last_owner`. */
  setRole(by: By, organizationId: bigint, userId: string, role: Role): Promise<Member>;
  /** Refuses `not_found`, `last_owner`. */
  remove(by: By, organizationId: bigint, userId: string): Promise<Member>;
}

/**
 * Only a hash of the secret is kept. Whoever presents the secret may accept, once, before it expires, and while the
 * organization is active.
 */
export interface Invitations {
  /** Takes the place of an earlier one for the same address. Refuses `not_found`, `member_exists`. */
  create(
    by: By,
    organizationId: bigint,
    input: NewInvitation,
  ): Promise<{ readonly invitation: Invitation; readonly secret: string }>;
  /** Those that have not expired, by when they were made. */
  list(organizationId: bigint, query: PageRequest): Promise<Page<Invitation>>;
  /** If it can be accepted now. */
  find(secret: string): Promise<Invitation | undefined>;
  /** Refuses `not_found` (also where it expired, was taken back, or is of a disabled organization), `member_exists`. */
  accept(actor: Actor, secret: string, userId: string): Promise<Member>;
  /** Refuses `not_found`. */
  revoke(by: By, organizationId: bigint, id: string): Promise<Invitation>;
}

/** Only a hash of the secret is kept. A secret begins with `twa_`. */
export interface ApiTokens {
  /** Refuses `not_found` for the organization; `outlives_maker` where a token that expires makes one that ends later. */
  create(
    by: By,
    organizationId: bigint,
    input: NewApiToken,
  ): Promise<{ readonly token: ApiToken; readonly secret: string }>;
  get(organizationId: bigint, id: string): Promise<ApiToken | undefined>;
  /** By when they were made. */
  list(organizationId: bigint, query: PageRequest): Promise<Page<ApiToken>>;
  /** For ever. Refuses `not_found`. */
  revoke(by: By, organizationId: bigint, id: string): Promise<ApiToken>;
  /** The token that has this secret, is active, has not expired, and is of an active organization. Notes the day. */
  authenticate(secret: string): Promise<ApiToken | undefined>;
}

export interface Regions {
  /** Adds it, or gives it another URL. */
  put(actor: Actor, region: Region): Promise<Region>;
  get(name: string): Promise<Region | undefined>;
  /** All of them, by name. */
  list(): Promise<Region[]>;
}

export interface AuditLog {
  /** Newest first. */
  list(organizationId: bigint, query: PageRequest): Promise<Page<AuditEntry>>;
}

export interface KeyConfigs {
  /**
   * What relays need to know of up to {@link MAX_LOOKUP_KEYS} public keys, in one query. Absent: unknown. Disabled ones
   * are answered as inactive.
   */
  get(publicKeys: readonly string[]): Promise<Map<string, KeyConfig>>;
}

export interface ChangeLog {
  /** Where the log ends now. Take it before reading what is to be kept up to date. */
  cursor(): Promise<string>;
  /** The keys of what changed after `cursor`: some of them, and a cursor to go on from. */
  since(cursor: string): Promise<ChangesResult>;
  /** Calls `listener` when there may be more after a cursor. Returns what ends it. */
  onChange(listener: () => void): () => void;
}

export const DEFAULT_PAGE_SIZE = 50;
export const MAX_PAGE_SIZE = 1000;
export const MAX_LOOKUP_KEYS = 500;
export const RETAINED_CHANGES = 100_000n;
/** A change of more keys than this is answered as `reset`. */
export const MAX_CHANGED_KEYS = 10_000;
export const MAX_HINT_DELAY_MS = 500;
export const STORE_DEADLINE_MS = 10_000;
