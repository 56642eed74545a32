import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { type RedisServer, startRedis } from '../../test/support/redis.ts';
import { dumpOf, setBackTo } from '../../test/support/redis-dump.ts';
import { until } from '../../test/support/until.ts';
import type { ConfigCache, Lookup } from './config-cache.ts';
import {
  openCache,
  openStoreUnderTest,
  PATIENCE_MS,
  SHARED_PATIENCE_MS,
  type StoreUnderTest,
} from './config-testing.ts';
import { CONFIG_SHARDS, configKey, configShardOf, configStateKey } from './redis-config-keys.ts';
import { createRedisConfigs } from './redis-configs.ts';

let server: RedisServer;
let under: StoreUnderTest;

beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());
beforeEach(async () => {
  await server.admin.flushall();
  under = await openStoreUnderTest();
});

/** A process: it has a memory of its own, and shares the store and Redis. */
async function openProcess(from: StoreUnderTest = under): Promise<ConfigCache> {
  const options = { url: server.url, changes: from.seen.changes, keepMs: 60_000, deadlineMs: SHARED_PATIENCE_MS };
  const shared = createRedisConfigs(options);
  const cache = openCache(from, { shared });
  await joined();
  return cache;

  /** It has a mark in every shard. */
  async function joined(): Promise<void> {
    const before = (await marks()).length;
    await until('it has joined', async () => (await marks()).length >= before + CONFIG_SHARDS.length);
  }
}

function marks(): Promise<string[]> {
  return server.admin.keys('tideway:config:*:mark:*');
}

/** Waits until what was loaded has been written. */
async function isShared(publicKey: string): Promise<boolean> {
  return / (config|disabled|unknown) /.test((await server.admin.get(configKey(publicKey))) ?? '');
}

async function one(cache: ConfigCache, publicKey: string): Promise<Lookup['kind']> {
  return (await cache.lookup([publicKey], PATIENCE_MS)).get(publicKey)?.kind ?? 'pending';
}

describe('shared', () => {
  test('a second process, and one after a restart, do no SQL for what has not changed', async () => {
    const projects = await Promise.all(Array.from({ length: 20 }, (_, n) => under.addProject(`p${n}`)));
    const keys = projects.map(({ publicKey }) => publicKey);
    const first = await openProcess();
    const answers = await first.lookup(keys, PATIENCE_MS);
    for (const key of keys) await until('it is written', () => isShared(key));
    first.close();
    const changed = projects[0];
    if (changed === undefined) throw new Error('there are 20');
    // While nobody is there to hear of it.
    await under.store.keys.update('system', changed.project.id, changed.publicKey, { state: 'disabled' });

    under.queries.keys = [];
    const second = await openProcess();
    expect(await one(second, changed.publicKey)).toBe('disabled');
    expect(await second.lookup(keys.slice(1), PATIENCE_MS)).toEqual(
      new Map([...answers].filter(([key]) => key !== changed.publicKey)),
    );
    expect(under.queries.keys).toEqual([changed.publicKey]);
    expect(second.counters).toMatchObject({ sharedHits: 19, loadedKeys: 1 });
  });

  test('changes reach every process, whoever wrote what', async () => {
    const { project, publicKey } = await under.addProject('web');
    const processes = [await openProcess(), await openProcess(), await openProcess()];
    for (const state of ['disabled', 'active', 'disabled', 'active', 'disabled'] as const) {
      await under.store.keys.update('system', project.id, publicKey, { state });
      for (const cache of processes) {
        expect(await cache.catchUp(PATIENCE_MS)).toBe(true);
        expect(await one(cache, publicKey)).toBe(state === 'active' ? 'config' : 'disabled');
      }
    }
  });

  test('what was read before a change is never written after it', async () => {
    const { project, publicKey } = await under.addProject('web');
    const slow = await openProcess();
    const { promise, resolve } = Promise.withResolvers<void>();
    under.held = promise;
    const answer = one(slow, publicKey);
    await until('it was read', () => under.queries.keys.length === 1);
    under.held = undefined;
    const other = await openProcess();
    await under.store.keys.update('system', project.id, publicKey, { state: 'disabled' });
    await other.catchUp(PATIENCE_MS);
    expect(await one(other, publicKey)).toBe('disabled');
    resolve();
    expect(await answer).toBe('disabled');
    expect(await server.admin.get(configKey(publicKey))).not.toContain(' config ');
    const third = await openProcess();
    expect(await one(third, publicKey)).toBe('disabled');
  });

  test('a server that lost its last writes is not believed', async () => {
    const { project, publicKey } = await under.addProject('web');
    const cache = await openProcess();
    expect(await one(cache, publicKey)).toBe('config');
    await until('it is written', () => isShared(publicKey));
    const before = await dumpOf(server);
    await under.store.keys.update('system', project.id, publicKey, { state: 'disabled' });
    await cache.catchUp(PATIENCE_MS);
    await until('it was removed', async () => !(await isShared(publicKey)));
    // A failover to a replica that was behind.
    await setBackTo(before, server);
    expect(await one(cache, publicKey)).toBe('disabled');
    expect(await one(await openProcess(), publicKey)).toBe('disabled');
  });

  test('another database, as after a restore: nothing of the old one is believed', async () => {
    const { publicKey } = await under.addProject('web');
    const cache = await openProcess();
    expect(await one(cache, publicKey)).toBe('config');
    await until('it is written', () => isShared(publicKey));
    const restored = await openStoreUnderTest();
    expect(await one(await openProcess(restored), publicKey)).toBe('unknown');
  });

  test('flushed: it is only slower', async () => {
    const { publicKey } = await under.addProject('web');
    const cache = await openProcess();
    await server.admin.flushall();
    expect(await one(cache, publicKey)).toBe('config');
    const shard = configStateKey(configShardOf(publicKey));
    await until('it begins anew', async () => (await server.admin.exists(shard)) === 1);
    const other = await openProcess();
    expect(await one(other, publicKey)).toBe('config');
  });

  test('a hot key that nobody has: 100 at once in two processes, at most one load each', async () => {
    const { publicKey } = await under.addProject('hot');
    const processes = [await openProcess(), await openProcess()];
    await Promise.all(processes.flatMap((cache) => Array.from({ length: 100 }, () => one(cache, publicKey))));
    expect(under.queries.keys.length).toBeLessThanOrEqual(2);
  });
});

describe('Redis away', () => {
  test('killed: everything goes on by the store, and it is used again when it is back', async () => {
    const redis = await startRedis();
    onTestFinished(() => redis.stop());
    const projects = await Promise.all(['a', 'b', 'c'].map((slug) => under.addProject(slug)));
    const [a, b, c] = projects.map(({ publicKey }) => publicKey);
    if (a === undefined || b === undefined || c === undefined) throw new Error('there are three');
    const shared = createRedisConfigs({ url: redis.url, changes: under.seen.changes, keepMs: 60_000 });
    const cache = openCache(under, { shared });
    expect(await one(cache, a)).toBe('config');
    await redis.kill();
    expect(await one(cache, b)).toBe('config');
    const project = projects[0]?.project;
    await under.store.keys.update('system', project?.id ?? 0n, a, { state: 'disabled' });
    await until('changes are heard of', async () => (await one(cache, a)) === 'disabled');
    await redis.restart();
    await until('it is used again', async () => {
      await under.store.keys.update('system', projects[2]?.project.id ?? 0n, c, { name: `${Math.random()}` });
      await one(cache, c);
      return / config /.test((await redis.admin.get(configKey(c))) ?? '');
    });
    expect(await one(cache, a)).toBe('disabled');
  });

  test('paused: nobody waits for it for long, and nothing old is answered afterwards', async () => {
    const redis = await startRedis();
    onTestFinished(() => redis.stop());
    const { project, publicKey } = await under.addProject('web');
    const shared = createRedisConfigs({ url: redis.url, changes: under.seen.changes, keepMs: 60_000 });
    const cache = openCache(under, { shared });
    await until('it has joined', async () => (await redis.admin.keys('*:mark:*')).length === CONFIG_SHARDS.length);
    await one(cache, publicKey);
    redis.pause();
    await under.store.keys.update('system', project.id, publicKey, { state: 'disabled' });
    expect(await cache.catchUp(PATIENCE_MS)).toBe(true);
    expect(await one(cache, publicKey)).toBe('disabled');
    redis.resume();
    const second = openCache(under, {
      shared: createRedisConfigs({ url: redis.url, changes: under.seen.changes, keepMs: 60_000 }),
    });
    await until('both have joined', async () => {
      const names = await redis.admin.keys('*:mark:*');
      return names.length === 2 * CONFIG_SHARDS.length;
    });
    expect(await one(second, publicKey)).toBe('disabled');
  });
});
