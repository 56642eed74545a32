import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import type { Migration } from '#lib/sql/migrate.ts';
import type { Organization, Project, ProjectKey, User } from './records.ts';
import type { Page, PageRequest, Store } from './store.ts';
import { type RefusalReason, StoreRefusal } from './store-errors.ts';

/** What the suite needs of an implementation: databases to itself, and a way past the store to what is in them. */
export interface StoreSpace extends AsyncDisposable {
  /** As a process would open it; as often as wanted. */
  open(migrations?: readonly Migration[]): Promise<Store>;
  /** Runs SQL and answers the rows. */
  execute(sql: string): Promise<Record<string, unknown>[]>;
}

export interface StoreContractOptions {
  /** An empty database. */
  readonly newSpace: () => Promise<StoreSpace>;
}

export const ACTOR = 'user:00000000-0000-4000-8000-000000000001';

export function newOrganization(store: Store, name = 'Acme'): Promise<Organization> {
  return store.organizations.create(ACTOR, { name, slug: uniqueSlug('org'), region: 'local' });
}

export async function newProject(
  store: Store,
): Promise<{ organization: Organization; project: Project; key: ProjectKey }> {
  const organization = await newOrganization(store);
  const project = await store.projects.create(ACTOR, organization.id, { name: 'App', slug: uniqueSlug('app') });
  return { organization, project, key: await firstKey(store, project.id) };
}

export async function firstKey(store: Store, projectId: bigint): Promise<ProjectKey> {
  const { items } = await store.keys.list(projectId, {});
  const [key] = items;
  if (key === undefined) throw new Error('a project has a key');
  return key;
}

export function newUser(store: Store): Promise<User> {
  return store.users.create('system', { email: `${randomUUID()}@Example.com`, name: 'Ada' });
}

export function uniqueSlug(prefix: string): string {
  return `${prefix}-${randomUUID().slice(0, 13)}`;
}

export async function expectRefusal(reason: RefusalReason, promise: Promise<unknown>): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(StoreRefusal);
  expect((error as StoreRefusal).reason).toBe(reason);
}

/** All pages of a list, each of `pageSize`. */
export async function everyPage<T>(list: (query: PageRequest) => Promise<Page<T>>, pageSize: number): Promise<T[][]> {
  const pages: T[][] = [];
  let pageToken = '';
  do {
    const page = await list({ pageSize, pageToken });
    pages.push(page.items);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return pages;
}
