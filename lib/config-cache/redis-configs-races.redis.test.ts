import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RedisServer, startRedis } from '../../test/support/redis.ts';
import { dumpOf, type RedisDump, setBackTo } from '../../test/support/redis-dump.ts';
import { until } from '../../test/support/until.ts';
import type { ConfigCache } from './config-cache.ts';
import {
  openCache,
  openStoreUnderTest,
  PATIENCE_MS,
  SHARED_PATIENCE_MS,
  type StoreUnderTest,
} from './config-testing.ts';
import { CONFIG_SHARDS } from './redis-config-keys.ts';
import { createRedisConfigs } from './redis-configs.ts';

// What happens to several processes in any order, with Redis flushed, set back and cut off from some of them between. The
// one thing that must hold: whoever has caught up never answers with what was before.

const PROCESSES = 2;
const KEYS = 2;

type Step =
  | { readonly do: 'change' | 'lookup' | 'catchUp' | 'check'; readonly process: number; readonly key: number }
  | { readonly do: 'wait' | 'flush' | 'save' | 'setBack' | 'cut' | 'restart' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constantFrom<'change' | 'lookup' | 'catchUp' | 'check'>('change', 'lookup', 'catchUp', 'check'),
      process: fc.nat(PROCESSES - 1),
      key: fc.nat(KEYS - 1),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom<'wait' | 'flush' | 'save' | 'setBack' | 'cut' | 'restart'>(
        ...(['wait', 'wait', 'flush', 'save', 'save', 'setBack', 'setBack', 'cut', 'restart'] as const),
      ),
    }),
  },
);

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

test('whoever has caught up never answers with what was before', { timeout: 120_000 }, async () => {
  const under = await openStoreUnderTest();
  const projects = await Promise.all(Array.from({ length: KEYS }, (_, n) => under.addProject(`p${n}`)));
  let sharedHits = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), async (steps) => {
      await server.admin.flushall();
      const processes = Array.from({ length: PROCESSES }, () => openProcess(under));
      await until('all have joined', async () => {
        return (await server.admin.keys('tideway:config:*:mark:*')).length === PROCESSES * CONFIG_SHARDS.length;
      });
      const lookups: Promise<unknown>[] = [];
      let saved: RedisDump = new Map();
      try {
        for (const project of projects) await lookup(processes[0], project);
        for (const one of steps) {
          switch (one.do) {
            case 'change':
              await change(under, projects[one.key]);
              break;
            case 'lookup':
              // Not waited for: it races with what follows.
              lookups.push(lookup(processes[one.process], projects[one.key]));
              break;
            case 'catchUp':
              expect(await processes[one.process]?.catchUp(PATIENCE_MS)).toBe(true);
              break;
            case 'check':
              await check(under, processes[one.process], projects[one.key]);
              break;
            case 'wait':
              await delay(20);
              break;
            case 'flush':
              await server.admin.flushall();
              break;
            case 'save':
              saved = await dumpOf(server);
              break;
            case 'setBack':
              await setBackTo(saved, server);
              break;
            case 'cut':
              await server.admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
              break;
            case 'restart':
              processes.shift()?.close();
              processes.push(openProcess(under));
          }
        }
        await Promise.all(lookups);
        for (const cache of processes) for (const project of projects) await check(under, cache, project);
        for (const { counters } of processes) sharedHits += counters.sharedHits;
      } finally {
        for (const cache of processes) cache.close();
      }
    }),
    { numRuns: 60 },
  );
  expect(sharedHits).toBeGreaterThan(30);
});

type Project = Awaited<ReturnType<StoreUnderTest['addProject']>> | undefined;

function openProcess(under: StoreUnderTest): ConfigCache {
  const options = { url: server.url, changes: under.seen.changes, keepMs: 60_000, deadlineMs: SHARED_PATIENCE_MS };
  const shared = createRedisConfigs(options);
  return openCache(under, { shared });
}

async function change({ store, organization }: StoreUnderTest, of: Project): Promise<void> {
  if (of === undefined) return;
  await store.projects.update('system', organization.id, of.project.id, { name: `${Math.random()}` });
}

async function lookup(cache: ConfigCache | undefined, of: Project): Promise<bigint | undefined> {
  if (cache === undefined || of === undefined) return undefined;
  const answer = (await cache.lookup([of.publicKey], PATIENCE_MS)).get(of.publicKey);
  return answer?.kind === 'config' ? answer.revision : undefined;
}

async function check({ store }: StoreUnderTest, cache: ConfigCache | undefined, of: Project): Promise<void> {
  if (cache === undefined || of === undefined) return;
  const before = (await store.configs.get([of.publicKey])).get(of.publicKey)?.revision;
  expect(await cache.catchUp(PATIENCE_MS)).toBe(true);
  // Nobody changes anything meanwhile.
  expect(await lookup(cache, of)).toBe(before);
}
