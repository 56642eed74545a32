import { describe, expect, test } from 'vitest';
import { ControlType } from '#gen/tideway/stream/v1/message_pb.ts';
import { channelKey } from '#lib/broker/broker.ts';
import { channelKeys } from '#lib/broker/redis-keys.ts';
import { Checker, FLAWLESS } from '../support/checker.ts';
import { type Deployment, startDeployment } from '../support/deployment.ts';
import { BROKER_AWAY, HEALTHY, untilHealthIs } from '../support/health.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { masterOf, type RedisClusterServers, startRedisCluster } from '../support/redis-cluster.ts';
import { expectRetryable, type Streams, startStreams, untilAllGoOn } from '../support/streams.ts';
import { until } from '../support/until.ts';

const TAKEN_OVER_MS = 40_000;
/**
 * 30 s from the first comparison of last ids that fails, to the end of one. They come every 5 s and take up to 2 s then, so it is up
 * to 37 s, and 42 where timers are late; the rest is for a busy machine.
 */
const UNTIL_TOLD_MS = 70_000;

/** What Redis itself still holds of each channel. */
async function survivors(
  { orgId }: Deployment,
  { channels }: Streams,
  serverOf: (key: string) => Promise<RedisServer>,
): Promise<Map<string, Set<string>>> {
  const held = new Map<string, Set<string>>();
  for (const { id } of channels) {
    const { log } = channelKeys(channelKey(orgId, id));
    const entries = await (await serverOf(log)).admin.xrange(log, '-', '+');
    held.set(id, new Set(entries.map(([entryId]) => entryId)));
  }
  return held;
}

/** The master of each channel. */
function homesOf(cluster: RedisClusterServers, { orgId }: Deployment, { channels }: Streams): Promise<RedisServer[]> {
  return Promise.all(channels.map(({ id }) => masterOf(cluster, channelKeys(channelKey(orgId, id)).log)));
}

// Each has servers of its own, and most of their time is waiting.
describe.concurrent('a broker that is away for long, or comes back with less', { timeout: 90_000 }, () => {
  test('Redis comes back empty: what is published from then on arrives, and cursors are told', async () => {
    await using redis = await startRedis();
    await using deployment = await startDeployment({ redisUrl: redis.url });
    const checker = new Checker();
    const streams = await startStreams(deployment, checker);
    await untilAllGoOn(streams.publishers);
    // Nothing will be published to this one that could tell its listeners.
    await streams.publishers[0]?.stop();
    await redis.restart();
    await until('the listeners of a quiet channel are told', () => {
      const [browser] = streams.browsers;
      const [typed] = streams.typed;
      return browser?.controls.includes('expired') === true && typed?.controls.includes(ControlType.EXPIRED) === true;
    });
    await untilAllGoOn(streams.publishers.slice(1));
    await streams.end();
    const { lost, outOfOrder } = checker.verdict(await survivors(deployment, streams, async () => redis));
    expect({ lost, outOfOrder }).toEqual({ lost: 0, outOfOrder: 0 });
  });

  test('a Cluster loses a master: the other shards notice nothing, and its replica takes over', async () => {
    // Else Redis itself refuses everybody until the replica has taken over.
    const args = ['--cluster-node-timeout', '3000', '--cluster-require-full-coverage', 'no'];
    await using cluster = await startRedisCluster({ withReplicas: true, args });
    await using deployment = await startDeployment({ redisUrl: cluster.url });
    const checker = new Checker();
    const streams = await startStreams(deployment, checker, { perFace: 3 });
    await untilAllGoOn(streams.publishers);
    const homes = await homesOf(cluster, deployment, streams);
    const doomed = homes[0] as RedisServer;
    const concerned = streams.publishers.filter((_, n) => homes[n] === doomed);
    const others = streams.publishers.filter((_, n) => homes[n] !== doomed);
    const replica = cluster.replicas[cluster.masters.indexOf(doomed)] as RedisServer;
    const witness = cluster.masters.find((master) => master !== doomed) as RedisServer;
    await replica.admin.config('SET', 'cluster-replica-no-failover', 'yes');
    await doomed.kill();
    const isDead = new RegExp(`:${doomed.port}@.* master,fail `);
    await until('it is taken for dead', async () => isDead.test(String(await witness.admin.cluster('NODES'))));
    await until('who publishes to it is refused', () => concerned.every(({ refusals }) => refusals.length > 0));
    await untilAllGoOn(others);
    await replica.admin.config('SET', 'cluster-replica-no-failover', 'no');
    await until(
      'the replica has taken over',
      async () => (await witness.admin.cluster('SLOTS')).every(([, , master]) => master?.[1] !== doomed.port),
      TAKEN_OVER_MS,
    );
    await untilAllGoOn(streams.publishers);
    await streams.end();
    const held = await survivors(deployment, streams, (key) => masterOf(cluster, key));
    const { lost, outOfOrder } = checker.verdict(held);
    expect({ lost, outOfOrder }).toEqual({ lost: 0, outOfOrder: 0 });
    expectRetryable(concerned);
    expect(others.flatMap(({ refusals }) => refusals)).toEqual([]);
    expect(streams.browsers.flatMap(({ errors }) => errors)).toEqual([]);
  });

  test('a shard of a Cluster is silent for more than 30 s: its listeners are told, those of the others are not', async () => {
    await using cluster = await startRedisCluster({ args: ['--cluster-require-full-coverage', 'no'] });
    await using deployment = await startDeployment({ redisUrl: cluster.url });
    const checker = new Checker();
    const streams = await startStreams(deployment, checker, { perFace: 3, pauseMs: 100 });
    await untilAllGoOn(streams.publishers);
    const homes = await homesOf(cluster, deployment, streams);
    const silent = homes[0] as RedisServer;
    const isConcerned = (_: unknown, n: number) => homes[n] === silent;
    const isOther = (_: unknown, n: number) => homes[n] !== silent;
    silent.pause();
    try {
      await until(
        'every listener of the shard is told',
        () =>
          streams.browsers.filter(isConcerned).every(({ errors }) => errors.length > 0) &&
          streams.typed.filter(isConcerned).every(({ codes }) => codes.length > 0),
        UNTIL_TOLD_MS,
      );
      await untilAllGoOn(streams.publishers.filter(isOther));
    } finally {
      silent.resume();
    }
    await untilAllGoOn(streams.publishers);
    await streams.end();
    expect(checker.verdict()).toEqual(FLAWLESS);
    expectRetryable(streams.publishers.filter(isConcerned));
    expect(streams.publishers.filter(isOther).flatMap(({ refusals }) => refusals)).toEqual([]);
    expect(streams.browsers.filter(isOther).flatMap(({ errors }) => errors)).toEqual([]);
    expect(streams.typed.filter(isOther).flatMap(({ codes }) => codes.filter((code) => code !== 0))).toEqual([]);
  }, 180_000);

  test('Redis is away for more than 30 s: listeners are told, and are back when it is', async () => {
    await using redis = await startRedis({ args: ['--appendonly', 'yes'] });
    await using deployment = await startDeployment({ redisUrl: redis.url });
    const port = deployment.stream[0]?.port ?? 0;
    const checker = new Checker();
    const streams = await startStreams(deployment, checker);
    await untilAllGoOn(streams.publishers);
    await redis.kill();
    await untilHealthIs(port, BROKER_AWAY);
    await until(
      'every listener is told',
      () =>
        streams.browsers.every(({ errors }) => errors.length > 0) &&
        streams.typed.every(({ codes }) => codes.length > 0),
      UNTIL_TOLD_MS,
    );
    await redis.restart();
    await untilHealthIs(port, HEALTHY);
    await untilAllGoOn(streams.publishers);
    await streams.end();
    expect(checker.verdict()).toEqual(FLAWLESS);
    expectRetryable(streams.publishers);
    expect(streams.browsers.map(({ failedWith }) => failedWith)).toEqual([undefined, undefined, undefined]);
  }, 180_000);
});
