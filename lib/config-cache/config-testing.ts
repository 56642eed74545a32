import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { StoreUnavailableError } from '#lib/sql/database-errors.ts';
import { openStore } from '#lib/store/open-store.ts';
import type { Organization, Project } from '#lib/store/records.ts';
import type { Store } from '#lib/store/store.ts';
import type { ConfigCache } from './config-cache.ts';
import { type ConfigCacheOptions, createConfigCache } from './create-config-cache.ts';

/** What the tests of the cache share: a real store whose queries are counted, and which can be cut off. */
export interface StoreUnderTest {
  readonly store: Store;
  /** What the cache is given: the same store, through a door. */
  readonly seen: Pick<Store, 'configs' | 'changes'>;
  readonly organization: Organization;
  readonly queries: { keys: string[]; batches: number[] };
  /** Shut: everything fails as it does when the database is away. */
  isAway: boolean;
  /** Set: config queries have been made, and wait for it. */
  held: Promise<void> | undefined;
  addProject(slug: string): Promise<{ readonly project: Project; readonly publicKey: string }>;
}

/** On SQLite, unless it is told where PostgreSQL is. */
export async function openStoreUnderTest(databaseUrl?: string): Promise<StoreUnderTest> {
  const dataDir = await mkdtemp(join(tmpdir(), 'tideway-config-'));
  const store = await openStore({ dataDir, databaseUrl });
  onTestFinished(async () => {
    await store.close();
    await rm(dataDir, { recursive: true, force: true });
  });
  const organization = await store.organizations.create('system', { name: 'Acme', region: 'here' });
  const throughDoor = async <T>(act: () => Promise<T>): Promise<T> => {
    if (test.isAway) throw new StoreUnavailableError('cut off by the test');
    return await act();
  };
  const test: StoreUnderTest = {
    store,
    organization,
    queries: { keys: [], batches: [] },
    isAway: false,
    held: undefined,
    seen: {
      configs: {
        get: (keys) =>
          throughDoor(async () => {
            test.queries.batches.push(keys.length);
            for (const key of keys) test.queries.keys.push(key);
            const configs = await store.configs.get(keys);
            await test.held;
            return configs;
          }),
      },
      changes: {
        cursor: () => throughDoor(() => store.changes.cursor()),
        since: (cursor) => throughDoor(() => store.changes.since(cursor)),
        onChange: (listener) => store.changes.onChange(listener),
      },
    },
    async addProject(slug) {
      const project = await store.projects.create('system', organization.id, { name: slug, slug });
      const [key] = (await store.keys.list(project.id, {})).items;
      if (key === undefined) throw new Error('a project begins with a key');
      return { project, publicKey: key.publicKey };
    },
  };
  return test;
}

export function openCache(test: StoreUnderTest, options: Partial<ConfigCacheOptions> = {}): ConfigCache {
  const cache = createConfigCache({
    store: test.seen,
    maxBytes: 64 * 1024 * 1024,
    graceMs: 120_000,
    ttlMs: 3_600_000,
    onError: (error) => {
      throw error;
    },
    ...options,
  });
  onTestFinished(() => cache.close());
  return cache;
}

/** Long enough for every load. */
export const PATIENCE_MS = 10_000;
/** Where Redis is there it is used, however busy the machine is. */
export const SHARED_PATIENCE_MS = 5_000;
