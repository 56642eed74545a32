import { Cluster, type Redis } from 'ioredis';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { startRedis } from '../../test/support/redis.ts';
import { startRedisCluster } from '../../test/support/redis-cluster.ts';
import { until } from '../../test/support/until.ts';
import type { Broker } from './broker.ts';
import { newChannel } from './broker-harness.ts';
import { type Subject, type TokenKey, tokenKey } from './decisions.ts';
import { describeDecisionsContract, newDecision, watched } from './decisions-contract.ts';
import { createRedisBroker } from './redis-broker.ts';
import { FEED_MAX_ENTRIES } from './redis-decisions.ts';
import { redisForEachTest } from './redis-fixture.ts';
import { DECISIONS_KEY, decisionKey, decisionToldKey, tokenCountKey } from './redis-keys.ts';

const TTL_MS = 60_000;

function harnessOn(url: string, keys: Redis | Cluster, stop: () => Promise<void>) {
  const brokers: Broker[] = [];
  const elapse = async (ms: number, key: string) => {
    const ttlMs = await keys.pttl(key);
    if (ttlMs > ms) await keys.pexpire(key, ttlMs - ms);
    else await keys.del(key);
  };
  return {
    open: () => {
      const broker = createRedisBroker({ url });
      brokers.push(broker);
      return broker;
    },
    elapse: (ms: number, subject: Subject) => elapse(ms, decisionKey(subject)),
    elapseCount: (ms: number, token: TokenKey) => elapse(ms, tokenCountKey(token)),
    shared: true,
    close: async () => {
      await Promise.all(brokers.map((broker) => broker.close()));
      await stop();
    },
  };
}

describeDecisionsContract('redis', async () => {
  const server = await startRedis();
  return harnessOn(server.url, server.admin, () => server.stop());
});

describeDecisionsContract('redis cluster', async () => {
  const servers = await startRedisCluster();
  const keys = new Cluster(servers.masters.map(({ port }) => ({ host: '127.0.0.1', port })));
  return harnessOn(servers.url, keys, async () => {
    keys.disconnect();
    await servers.stop();
  });
});

describe('failures', () => {
  const redis = redisForEachTest();

  test('what is decided while a process is cut off is told when it is back', async () => {
    const here = redis.open();
    const about = newChannel();
    const far = watched(redis.open().decisions, about);
    await until('it follows', () => far.doubts === 1);
    await redis.server.admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await until('it is decided', () => here.decisions.make(newDecision({ about }), TTL_MS).then(() => true));
    await until('it is told', () => far.told.length > 0);
    // It knew where it stood: there was nothing to doubt.
    expect(far.doubts).toBe(1);
    far.end();
  });

  test.for([
    ['the feed is lost', (admin: Redis) => admin.del(DECISIONS_KEY)],
    ['everything is lost', (admin: Redis) => admin.flushall()],
    ['the feed was trimmed beyond it', (admin: Redis) => admin.xtrim(DECISIONS_KEY, 'MAXLEN', 0)],
  ] as const)('when %s, watchers are told to look, and the feed goes on', async ([, lose]) => {
    const here = redis.open();
    const about = newChannel();
    await here.decisions.make(newDecision(), TTL_MS);
    const far = watched(redis.open().decisions, about);
    await until('it follows', () => far.doubts === 1);
    await lose(redis.server.admin);
    await until('it doubts', () => far.doubts === 2);
    await here.decisions.make(newDecision({ about }), TTL_MS);
    await until('it is told', () => far.told.length > 0);
    far.end();
  });

  test('a rolled back feed that has gone on elsewhere makes watchers look', async () => {
    const here = redis.open();
    const about = newChannel();
    await here.decisions.make(newDecision(), TTL_MS);
    const saved = await redis.server.admin.dumpBuffer(DECISIONS_KEY);
    const far = watched(redis.open().decisions, about);
    await until('it follows', () => far.doubts === 1);
    await here.decisions.make(newDecision({ about }), TTL_MS);
    await until('it is told', () => far.told.length > 0);
    await redis.server.admin.restore(DECISIONS_KEY, 0, saved, 'REPLACE');
    await here.decisions.make(newDecision(), TTL_MS);
    await until('it doubts', () => far.doubts === 2);
    far.end();
  });

  test('more than can be answered within the deadline of a request are found', async () => {
    const broker = redis.open({ commandTimeoutMs: 1000 });
    const decision = newDecision();
    await broker.decisions.make(decision, TTL_MS);
    const subjects = Array.from({ length: 200_000 }, (): Subject => ({ kind: 'cancelled', about: newChannel() }));
    const found = await broker.decisions.find([...subjects, decision]);
    expect(found).toHaveLength(200_001);
    expect(found.findIndex((one) => one !== undefined)).toBe(200_000);
    expect(found.at(-1)).toEqual(decision);
  });

  test('many at once are all told', async () => {
    const here = redis.open();
    const told = new Set<string>();
    const follower = redis.open();
    let doubts = 0;
    const end = follower.decisions.watch({
      onDecision: ({ about }) => told.add(about),
      onDoubt: () => {
        doubts += 1;
      },
    });
    await until('it follows', () => doubts === 1);
    const all = Array.from({ length: 3000 }, () => newDecision());
    for (let at = 0; at < all.length; at += 500) {
      await Promise.all(all.slice(at, at + 500).map((decision) => here.decisions.make(decision, TTL_MS)));
    }
    await until('all are told', () => told.size === all.length);
    expect(doubts).toBe(1);
    end();
  });

  test('a restart keeps what is saved: revoked stays revoked', async () => {
    const server = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] });
    const broker = createRedisBroker({ url: server.url });
    try {
      const decision = newDecision({ kind: 'channel_revoked' });
      await broker.decisions.make(decision, TTL_MS);
      await server.restart();
      await until('it is found', async () => {
        const [found] = await broker.decisions.find([decision]);
        return found?.atMs === decision.atMs;
      });
    } finally {
      await broker.close();
      await server.stop();
    }
  });

  test.for([
    ['behind', -3_600_000],
    ['ahead', 3_600_000],
  ] as const)('a process whose clock is %s revokes by the later of its clock and Redis’s', async ([, byMs]) => {
    const broker = redis.open();
    const { atMs: _, ...revoked } = newDecision({ kind: 'channel_revoked' });
    const trueMs = Date.now();
    vi.useFakeTimers({ toFake: ['Date'], now: trueMs + byMs });
    const { atMs } = await broker.decisions.make(revoked, TTL_MS);
    expect(atMs).toBeGreaterThanOrEqual(trueMs + Math.max(0, byMs));
    expect(atMs).toBeLessThan(trueMs + Math.max(0, byMs) + TTL_MS);
  });
  afterEach(() => void vi.useRealTimers());

  test('a count is made again where it was lost, and has a TTL', async () => {
    const broker = redis.open();
    const token = tokenKey(7n, 'one');
    expect(await broker.decisions.count(token, 1, 999.5)).toBeUndefined();
    expect(await redis.server.admin.pttl(tokenCountKey(token))).toBeGreaterThan(0);
    await redis.server.admin.flushall();
    expect(await broker.decisions.count(token, 1, TTL_MS)).toBeUndefined();
    expect(await broker.decisions.count(token, 1, TTL_MS)).toBeGreaterThan(0);
  });

  test('every key has a TTL', async () => {
    const broker = redis.open();
    const decision = newDecision();
    await broker.decisions.make(decision, TTL_MS);
    const ttlMs = await redis.server.admin.pttl(decisionKey(decision));
    expect(ttlMs).toBeGreaterThan(0);
    expect(ttlMs).toBeLessThanOrEqual(TTL_MS);
    expect(await redis.server.admin.pttl(DECISIONS_KEY)).toBeGreaterThan(TTL_MS);
    const keys = [decisionKey(decision), decisionToldKey(decision)];
    expect((await redis.server.admin.keys('*')).sort()).toEqual(['tideway:decisions', ...keys].sort());
    for (const key of keys) expect(await redis.server.admin.pttl(key)).toBeGreaterThan(0);
  });

  test('the feed has an end', async () => {
    const broker = redis.open();
    const { admin } = redis.server;
    const fill = "for n = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'kind', 'cancelled') end";
    await admin.eval(fill, 1, DECISIONS_KEY, 1.5 * FEED_MAX_ENTRIES);
    await broker.decisions.make(newDecision(), TTL_MS);
    expect(await admin.xlen(DECISIONS_KEY)).toBeLessThan(1.1 * FEED_MAX_ENTRIES);
  });

  test('what is repeated adds no entry to the feed, but for one that nobody may have been told', async () => {
    const broker = redis.open();
    const decision = newDecision();
    for (let n = 0; n < 3; n += 1) await broker.decisions.make(decision, TTL_MS);
    expect(await redis.server.admin.xlen(DECISIONS_KEY)).toBe(1);
    // As it is after a failure between the two.
    await redis.server.admin.del(decisionToldKey(decision));
    for (let n = 0; n < 3; n += 1) await broker.decisions.make(decision, TTL_MS);
    expect(await redis.server.admin.xlen(DECISIONS_KEY)).toBe(2);
  });
});
