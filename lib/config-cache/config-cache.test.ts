import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { until } from '../../test/support/until.ts';
import type { ConfigCache, Lookup } from './config-cache.ts';
import { decodeConfig } from './config-entry.ts';
import { openCache, openStoreUnderTest, PATIENCE_MS } from './config-testing.ts';

const newKey = () => randomBytes(16).toString('hex');

async function one(cache: ConfigCache, key: string, waitMs = PATIENCE_MS): Promise<Lookup> {
  const answer = (await cache.lookup([key], waitMs)).get(key);
  if (answer === undefined) throw new Error('no answer');
  return answer;
}

async function revision(cache: ConfigCache, key: string): Promise<bigint | string> {
  const answer = await one(cache, key);
  return answer.kind === 'config' ? answer.revision : answer.kind;
}

describe('loads', () => {
  test('a key that is cached does no SQL, and says all that relays need', async () => {
    const under = await openStoreUnderTest();
    const { project, publicKey } = await under.addProject('web');
    const cache = openCache(under);
    const first = await one(cache, publicKey);
    for (let n = 0; n < 100; n += 1) expect(await one(cache, publicKey)).toBe(first);
    expect(under.queries.keys).toEqual([publicKey]);
    if (first.kind !== 'config') throw new Error(first.kind);
    expect(decodeConfig(first.bytes)).toMatchObject({
      projectId: project.id,
      organizationId: under.organization.id,
      slug: 'web',
      revision: project.revision,
      allowedDomains: ['*'],
      retentionDays: 90,
      quotas: [],
    });
  });

  test('one hot key asked for by 100 at once is loaded once', async () => {
    const under = await openStoreUnderTest();
    const { publicKey } = await under.addProject('hot');
    const cache = openCache(under);
    const answers = await Promise.all(Array.from({ length: 100 }, () => one(cache, publicKey)));
    expect(new Set(answers).size).toBe(1);
    expect(under.queries.keys).toEqual([publicKey]);
  });

  test('10,000 keys asked for at once, by several: one load each, in queries of at most 500', async () => {
    const under = await openStoreUnderTest();
    const known = (await Promise.all(['a', 'b', 'c'].map((slug) => under.addProject(slug)))).map((p) => p.publicKey);
    const keys = [...known, ...Array.from({ length: 9_997 }, newKey)];
    const cache = openCache(under, { maxBytes: 256 * 1024 * 1024 });
    await cache.catchUp(PATIENCE_MS);
    const answers = await Promise.all([1, 2, 3].map(() => cache.lookup(keys, PATIENCE_MS)));
    for (const answer of answers) {
      expect(keys.filter((key) => answer.get(key)?.kind === 'config')).toEqual(known);
      expect(keys.filter((key) => answer.get(key)?.kind === 'unknown')).toHaveLength(9_997);
    }
    expect(under.queries.keys).toHaveLength(10_000);
    expect(new Set(under.queries.keys).size).toBe(10_000);
    expect(Math.max(...under.queries.batches)).toBe(500);
    // 20, and a few that were sent before they were full.
    expect(under.queries.batches.length).toBeLessThan(40);
    await cache.lookup(keys, PATIENCE_MS);
    expect(under.queries.keys).toHaveLength(10_000);
  });

  test('what takes longer than the caller waits is pending, and there the next time', async () => {
    const under = await openStoreUnderTest();
    const { publicKey } = await under.addProject('slow');
    const cache = openCache(under);
    const { promise, resolve } = Promise.withResolvers<void>();
    under.held = promise;
    expect(await one(cache, publicKey, 1)).toEqual({ kind: 'pending' });
    resolve();
    expect((await one(cache, publicKey)).kind).toBe('config');
    expect(under.queries.keys).toEqual([publicKey]);
  });
});

describe('changes', () => {
  test('a disabled key, an updated project, an organization that is disabled and enabled', async () => {
    const under = await openStoreUnderTest();
    const { store, organization } = under;
    const { project, publicKey } = await under.addProject('web');
    const other = await under.addProject('other');
    const cache = openCache(under);
    const before = await one(cache, other.publicKey);
    expect(await revision(cache, publicKey)).toBe(project.revision);

    await store.keys.update('system', project.id, publicKey, { state: 'disabled' });
    await until('the key is disabled', async () => (await revision(cache, publicKey)) === 'disabled');
    await store.keys.update('system', project.id, publicKey, { state: 'active' });
    const updated = await store.projects.update('system', organization.id, project.id, { retentionDays: 7 });
    await until('the project is as it is now', async () => (await revision(cache, publicKey)) === updated.revision);
    expect(await one(cache, other.publicKey)).toBe(before);

    await store.organizations.update('system', organization.id, { state: 'disabled' });
    await until('all keys are disabled', async () => (await revision(cache, other.publicKey)) === 'disabled');
    await store.organizations.update('system', organization.id, { state: 'active' });
    await until('all keys are back', async () => (await one(cache, other.publicKey)).kind === 'config');
  });

  test('a key that did not exist is found once it does', async () => {
    const under = await openStoreUnderTest();
    const { project } = await under.addProject('web');
    const cache = openCache(under);
    expect((await one(cache, newKey())).kind).toBe('unknown');
    const { publicKey } = await under.store.keys.create('system', project.id, { name: 'second' });
    expect((await one(cache, publicKey)).kind).toBe('config');
  });

  test('what was read before a change is not kept after it', async () => {
    const under = await openStoreUnderTest();
    const { project, publicKey } = await under.addProject('web');
    const cache = openCache(under);
    await cache.catchUp(PATIENCE_MS);
    const { promise, resolve } = Promise.withResolvers<void>();
    under.held = promise;
    const answer = one(cache, publicKey);
    await until('it was read', () => under.queries.keys.length === 1);
    await under.store.keys.update('system', project.id, publicKey, { state: 'disabled' });
    await cache.catchUp(PATIENCE_MS);
    resolve();
    expect((await answer).kind).toBe('disabled');
    expect((await one(cache, publicKey)).kind).toBe('disabled');
  });

  test('caught up means that what was committed before is known', async () => {
    const under = await openStoreUnderTest();
    const { project, publicKey } = await under.addProject('web');
    const cache = openCache(under);
    for (const state of ['disabled', 'active', 'disabled', 'active'] as const) {
      await one(cache, publicKey);
      await under.store.keys.update('system', project.id, publicKey, { state });
      expect(await cache.catchUp(PATIENCE_MS)).toBe(true);
      expect((await one(cache, publicKey)).kind).toBe(state === 'active' ? 'config' : 'disabled');
    }
  });

  test('an entry that is old is loaded again behind its use, though nothing changed', async () => {
    const under = await openStoreUnderTest();
    const { publicKey } = await under.addProject('web');
    const cache = openCache(under, { ttlMs: 1 });
    await one(cache, publicKey);
    await until('it is loaded again', async () => {
      await one(cache, publicKey);
      return under.queries.keys.length > 2;
    });
  });
});

describe('the store away', () => {
  test('cached answers go on, the rest is unavailable, and it recovers by itself', async () => {
    const under = await openStoreUnderTest();
    const { project, publicKey } = await under.addProject('web');
    const other = await under.addProject('other');
    const cache = openCache(under);
    await one(cache, publicKey);

    under.isAway = true;
    await under.store.keys.update('system', project.id, publicKey, { state: 'disabled' });
    expect(await cache.catchUp(PATIENCE_MS)).toBe(false);
    for (let n = 0; n < 1000; n += 1) expect((await one(cache, publicKey)).kind).toBe('config');
    expect(await one(cache, other.publicKey)).toEqual({ kind: 'unavailable' });
    expect(under.queries.keys).toEqual([publicKey]);

    under.isAway = false;
    await until('it recovers', () => cache.catchUp(PATIENCE_MS));
    expect((await one(cache, publicKey)).kind).toBe('disabled');
    expect((await one(cache, other.publicKey)).kind).toBe('config');
  });

  test('beyond the grace period nothing is answered from the cache', async () => {
    const under = await openStoreUnderTest();
    const { publicKey } = await under.addProject('web');
    const cache = openCache(under, { graceMs: 300 });
    expect((await one(cache, publicKey)).kind).toBe('config');
    under.isAway = true;
    await until('grace is over', async () => (await one(cache, publicKey)).kind === 'unavailable');
    under.isAway = false;
    await until('it recovers', async () => (await one(cache, publicKey)).kind === 'config');
  });

  test('away at the start: unavailable, then it begins', async () => {
    const under = await openStoreUnderTest();
    const { publicKey } = await under.addProject('web');
    under.isAway = true;
    const cache = openCache(under);
    await until('it is noticed', async () => (await one(cache, publicKey)).kind === 'unavailable');
    under.isAway = false;
    await until('it begins', async () => (await one(cache, publicKey)).kind === 'config');
  });
});
