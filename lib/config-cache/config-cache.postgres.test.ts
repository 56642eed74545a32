import { afterAll, beforeAll, expect, test } from 'vitest';
import { type PostgresServer, startPostgres } from '../../test/support/postgres.ts';
import { until } from '../../test/support/until.ts';
import type { ConfigCache } from './config-cache.ts';
import { openCache, openStoreUnderTest, PATIENCE_MS } from './config-testing.ts';

let postgres: PostgresServer;

beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres.stop());

const outages: [string, () => Promise<void> | void, () => Promise<void> | void][] = [
  ['killed', () => postgres.kill(), () => postgres.restart()],
  ['silent', () => postgres.pause(), () => postgres.resume()],
];

test.each(outages)('PostgreSQL %s under lookups: no error for what is cached, and recovery', async (_, end, begin) => {
  const under = await openStoreUnderTest(await postgres.createDatabase());
  const projects = await Promise.all(Array.from({ length: 20 }, (_, n) => under.addProject(`p${n}`)));
  const cached = projects.map(({ publicKey }) => publicKey);
  const { project: changing, publicKey: changed } = await under.addProject('changing');
  const { publicKey: notCached } = await under.addProject('not-cached');
  const cache = openCache(under);
  await cache.lookup([...cached, changed], PATIENCE_MS);

  await end();
  let lookups = 0;
  await until('it is noticed', async () => {
    await expectAllCached(cache, cached);
    lookups += 1;
    return (await cache.lookup([notCached], 1)).get(notCached)?.kind === 'unavailable';
  });
  for (let n = 0; n < 1000; n += 1) await expectAllCached(cache, cached);
  const loadsBefore = under.queries.batches.length;
  for (let n = 0; n < 1000; n += 1) await cache.lookup([notCached], 1);
  // Each waits a little and no query is made for each of them.
  expect(under.queries.batches.length - loadsBefore).toBeLessThan(100);
  expect(lookups).toBeGreaterThan(0);

  await begin();
  await until('it recovers', () => cache.catchUp(PATIENCE_MS));
  expect((await cache.lookup([notCached], PATIENCE_MS)).get(notCached)?.kind).toBe('config');
  await under.store.keys.update('system', changing.id, changed, { state: 'disabled' });
  await until(
    'changes are heard of',
    async () => (await cache.lookup([changed], PATIENCE_MS)).get(changed)?.kind === 'disabled',
  );
});

async function expectAllCached(cache: ConfigCache, keys: readonly string[]): Promise<void> {
  const answers = await cache.lookup(keys, 1);
  expect([...answers.values()].every(({ kind }) => kind === 'config')).toBe(true);
}
