import { expect, test } from 'vitest';
import { startRedisCluster } from '../../test/support/redis-cluster.ts';
import { until } from '../../test/support/until.ts';
import { openCache, openStoreUnderTest, PATIENCE_MS, SHARED_PATIENCE_MS } from './config-testing.ts';
import { CONFIG_SHARDS, configKey } from './redis-config-keys.ts';
import { createRedisConfigs } from './redis-configs.ts';

test('on a Cluster: a second process does no SQL, and changes reach both', async () => {
  await using cluster = await startRedisCluster();
  const under = await openStoreUnderTest();
  const projects = await Promise.all(Array.from({ length: 30 }, (_, n) => under.addProject(`p${n}`)));
  const keys = projects.map(({ publicKey }) => publicKey);
  const [changed] = projects;
  if (changed === undefined) throw new Error('there are 30');

  const count = async (pattern: string) => {
    const found = await Promise.all(cluster.masters.map(({ admin }) => admin.keys(pattern)));
    return found.flat().length;
  };
  const isWritten = async (publicKey: string) => {
    const key = configKey(publicKey);
    const found = await Promise.all(
      cluster.masters.map(({ admin }) => admin.get(key).catch((error: Error) => error.message)),
    );
    return found.some((value) => / config /.test(value ?? ''));
  };
  const open = async (processes: number) => {
    const options = { url: cluster.url, changes: under.seen.changes, keepMs: 60_000, deadlineMs: SHARED_PATIENCE_MS };
    const shared = createRedisConfigs(options);
    const cache = openCache(under, { shared });
    const marks = processes * CONFIG_SHARDS.length;
    await until('it has joined', async () => (await count('tideway:config:*:mark:*')) === marks);
    return cache;
  };
  const first = await open(1);
  const answers = await first.lookup(keys, PATIENCE_MS);
  for (const key of keys) await until('it is written', () => isWritten(key));
  under.queries.keys = [];
  const second = await open(2);
  expect(await second.lookup(keys, PATIENCE_MS)).toEqual(answers);
  expect(under.queries.keys).toEqual([]);

  await under.store.keys.update('system', changed.project.id, changed.publicKey, { state: 'disabled' });
  for (const cache of [first, second]) {
    expect(await cache.catchUp(PATIENCE_MS)).toBe(true);
    const found = await cache.lookup([changed.publicKey], PATIENCE_MS);
    expect(found.get(changed.publicKey)?.kind).toBe('disabled');
  }
});
