import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type RedisServer, startRedis } from '../../test/support/redis.ts';
import { startRedisCluster } from '../../test/support/redis-cluster.ts';
import { until } from '../../test/support/until.ts';
import type { Limits, TakeRequest } from './limits.ts';
import { describeLimitsContract } from './limits-contract.ts';
import { newSender, taken } from './limits-testing.ts';
import { createRedisLimits, type RedisLimitsOptions } from './redis-limits.ts';

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

function harnessOn(url: string) {
  let aheadMs = 0;
  const nowMs = () => Date.now() + aheadMs;
  // Stands still for a test that compares times, and moves on with the next one.
  let frozenMs = nowMs();
  return {
    limits: createRedisLimits({ url, now: () => frozenMs }),
    nowMs: () => frozenMs,
    pass: (ms: number) => {
      aheadMs += ms;
      frozenMs += ms;
    },
  };
}

describeLimitsContract('Redis', async () => harnessOn(server.url), 50);

describe('on a Cluster', () => {
  let stop: () => Promise<void>;
  let url = '';
  beforeAll(async () => {
    const cluster = await startRedisCluster();
    ({ url, stop } = cluster);
  });
  afterAll(() => stop?.());
  describeLimitsContract('Redis Cluster', async () => harnessOn(url), 20);
});

function open(options: Partial<RedisLimitsOptions> = {}): Limits {
  const limits = createRedisLimits({ url: server.url, ...options });
  onTestFinished(() => limits.close());
  return limits;
}

async function takeOne(limits: Limits, request: TakeRequest): Promise<boolean> {
  const [result] = await limits.take([request]);
  return result?.isTaken === true;
}

/** What Redis is told while `act` runs. */
async function monitored(act: () => Promise<unknown>): Promise<string[]> {
  const commands: string[] = [];
  // A connection of its own.
  const monitor = await server.admin.monitor();
  monitor.on('monitor', (_time: string, args: string[], _source: string, _database: string) => {
    commands.push((args[0] ?? '').toLowerCase());
  });
  await act();
  await server.admin.echo('the end');
  await until('MONITOR has it all', () => commands.includes('echo'));
  monitor.disconnect();
  return commands.filter((command) => command !== 'echo');
}

describe('counters', () => {
  test('have the keys of Sentry, end with their window, and are shifted by the organization', async () => {
    const nowMs = Math.ceil(Date.now() / 60_000) * 60_000 + 125_000;
    const limits = open({ now: () => nowMs });
    const sender = newSender(130n, 17n, 23n);
    const quotas = [
      sender.quota('organization', { id: 'all', limit: 100 }),
      sender.quota('project', { id: 'mine', limit: 100 }),
      sender.quota('key', { id: 'key', limit: 100 }),
    ];
    await limits.take([sender.request(quotas), sender.request(quotas, { quantity: 3 })]);
    const slot = Math.floor((nowMs / 1000 - 10) / 60);
    const keys = [`quota:all{130}:${slot}`, `quota:mine{130}17:${slot}`, `quota:key{130}23:${slot}`];
    expect(await server.admin.mget(...keys)).toEqual(['4', '4', '4']);
    const leftSec = (slot + 1) * 60 + 10 - nowMs / 1000;
    for (const key of keys) expect(Math.abs((await server.admin.ttl(key)) - leftSec - 60)).toBeLessThanOrEqual(10);
  });

  test.for([-30 * 86_400_000, 30 * 86_400_000])(
    'bound also one whose clock is %s ms ahead of Redis',
    async (aheadMs) => {
      const limits = open({ now: () => Date.now() + aheadMs });
      const sender = newSender();
      const request = sender.request([sender.quota('key', { limit: 2, windowSec: 86_400 })]);
      const results = [];
      for (let n = 0; n < 5; n += 1) results.push(await takeOne(limits, request));
      expect(results).toEqual([true, true, false, false, false]);
      const [key = ''] = await server.admin.keys(`quota:q{${sender.organizationId}}*`);
      // Nothing of it stays for a month.
      expect(await server.admin.ttl(key)).toBeLessThanOrEqual(86_400 + 60);
    },
  );

  test('an organization takes its window from its number', async () => {
    const nowMs = Math.ceil(Date.now() / 3_600_000) * 3_600_000 + 3_599_000;
    const limits = open({ now: () => nowMs });
    const sender = newSender(3_601n);
    await limits.take([sender.request([sender.quota('organization', { id: 'h', limit: 1, windowSec: 3600 })])]);
    // Its hour begins a second later than others'.
    const slot = Math.floor((nowMs / 1000 - 1) / 3600);
    expect(await server.admin.get(`quota:h{3601}:${slot}`)).toBe('1');
  });

  test('refunds are taken off', async () => {
    const nowMs = Date.now();
    const limits = open({ now: () => nowMs });
    const sender = newSender();
    const request = sender.request([sender.quota('key', { limit: 2, windowSec: 3600 })]);
    expect(taken(await limits.take([request, request, request]))).toEqual([true, true, false]);
    const [key = ''] = await server.admin.keys(`quota:q{${sender.organizationId}}*`);
    await server.admin.set(`r:${key}`, 2);
    expect(taken(await limits.take([request, request, request]))).toEqual([true, true, false]);
    expect(await server.admin.get(key)).toBe('4');
  });

  test('nothing is written for what is refused or only asked', async () => {
    const limits = open();
    const sender = newSender();
    const request = sender.request([sender.quota('key', { limit: 2 })], { quantity: 3 });
    await limits.take([request, { ...request, quantity: 0 }]);
    expect(await server.admin.keys(`quota:q{${sender.organizationId}}*`)).toEqual([]);
  });
});

describe('what Redis is asked', () => {
  test('nothing for limit 0, for no quota, and for a quota of something else', async () => {
    const limits = open();
    const sender = newSender();
    await limits.take([sender.request([sender.quota('key', { limit: 1 })])]);
    const commands = await monitored(() =>
      limits.take([
        sender.request([sender.quota('key', { limit: 0 }), sender.quota('organization', { limit: 5 })]),
        sender.request([]),
        sender.request([sender.quota('key', { limit: 1, categories: ['transaction'] })]),
      ]),
    );
    expect(commands).toEqual([]);
  });

  test('one script for what is asked together of an organization', async () => {
    const limits = open();
    const [a, b] = [newSender(), newSender()];
    const requests = [a, b, a, b, a].map((sender) => sender.request([sender.quota('key', { limit: 9 })]));
    await limits.take(requests);
    const commands = await monitored(() => limits.take(requests));
    // MONITOR shows what scripts do as well.
    expect(commands.filter((command) => command.startsWith('eval'))).toHaveLength(2);
  });

  test('a server that forgot the script is told it again', async () => {
    const limits = open();
    const sender = newSender();
    const request = sender.request([sender.quota('key', { limit: 2 })]);
    expect(await takeOne(limits, request)).toBe(true);
    await server.admin.script('FLUSH');
    expect(await takeOne(limits, request)).toBe(true);
    expect(await takeOne(limits, request)).toBe(false);
    expect(limits.state()).toBe('counting');
  });
});

test('20 processes at once never take more than there is', async () => {
  const nowMs = Date.now();
  const processes = Array.from({ length: 20 }, () => open({ now: () => nowMs }));
  const sender = newSender();
  const quotas = [
    sender.quota('key', { limit: 100, windowSec: 3600 }),
    sender.quota('organization', { limit: 5000, windowSec: 3600 }),
  ];
  let count = 0;
  await Promise.all(
    processes.map(async (limits) => {
      for (let n = 0; n < 20; n += 1) {
        const results = await limits.take([sender.request(quotas), sender.request(quotas)]);
        count += taken(results).filter(Boolean).length;
      }
    }),
  );
  expect(count).toBe(100);
});

describe('Redis away', () => {
  async function startOwn(): Promise<RedisServer> {
    const own = await startRedis();
    onTestFinished(() => own.stop());
    return own;
  }

  test('paused: everything is taken, after one deadline without waiting, and counted again when it answers', async () => {
    const own = await startOwn();
    const problems: unknown[] = [];
    const limits = open({ url: own.url, deadlineMs: 1_000, onError: (error) => problems.push(error) });
    const sender = newSender();
    const request = sender.request([sender.quota('key', { limit: 1, windowSec: 3600 })]);
    expect([await takeOne(limits, request), await takeOne(limits, request)]).toEqual([true, false]);
    own.pause();
    const beginMs = performance.now();
    const first = await Promise.all(Array.from({ length: 100 }, () => takeOne(limits, request)));
    expect(first).toEqual(new Array(100).fill(true));
    // Not a second each, let alone until it goes on.
    expect(performance.now() - beginMs).toBeLessThan(10_000);
    expect(limits.state()).toBe('open');
    expect(problems).toHaveLength(1);
    const openMs = performance.now();
    for (let n = 0; n < 10_000; n += 1) await limits.take([request]);
    expect(performance.now() - openMs).toBeLessThan(10_000);
    own.resume();
    await until('it counts again', () => limits.state() === 'counting');
    expect(await takeOne(limits, request)).toBe(false);
  });

  test('killed and started again: everything is taken meanwhile', async () => {
    const own = await startOwn();
    const limits = open({ url: own.url });
    const sender = newSender();
    const request = sender.request([sender.quota('key', { limit: 1, windowSec: 3600 })]);
    expect(await takeOne(limits, request)).toBe(true);
    await own.kill();
    expect([await takeOne(limits, request), await takeOne(limits, request)]).toEqual([true, true]);
    expect(limits.state()).toBe('open');
    await own.restart();
    await until('it counts again', () => limits.state() === 'counting');
    expect([await takeOne(limits, request), await takeOne(limits, request)]).toEqual([true, false]);
  });

  test('away from the beginning: taken, and counted as soon as it is there', async () => {
    const own = await startOwn();
    await own.kill();
    const limits = open({ url: own.url, deadlineMs: 1_000 });
    const sender = newSender();
    const request = sender.request([sender.quota('key', { limit: 1, windowSec: 3600 })]);
    expect([await takeOne(limits, request), await takeOne(limits, request)]).toEqual([true, true]);
    await own.restart();
    await until('it counts', () => limits.state() === 'counting');
    // What waited for the connection for too long is counted all the same, as it was taken.
    await takeOne(limits, request);
    expect(await takeOne(limits, request)).toBe(false);
  });

  test('a node of a Cluster away: the organizations of the others are counted on', async () => {
    await using cluster = await startRedisCluster();
    const limits = createRedisLimits({ url: cluster.url, deadlineMs: 1_000 });
    onTestFinished(() => limits.close());
    const senders = Array.from({ length: 30 }, () => newSender());
    const requests = senders.map((sender) => sender.request([sender.quota('key', { limit: 1, windowSec: 3600 })]));
    expect(taken(await limits.take(requests))).toEqual(new Array(30).fill(true));
    expect(taken(await limits.take(requests))).toEqual(new Array(30).fill(false));
    for (const { admin } of cluster.masters) await admin.config('SET', 'cluster-require-full-coverage', 'no');
    cluster.masters[2]?.pause();
    const during = taken(await limits.take(requests)).filter(Boolean).length;
    expect(during).toBeGreaterThan(0);
    expect(during).toBeLessThan(30);
    expect(limits.state()).toBe('open');
    cluster.masters[2]?.resume();
    await until('all are counted', () => limits.state() === 'counting');
    expect(taken(await limits.take(requests))).toEqual(new Array(30).fill(false));
  });
});
