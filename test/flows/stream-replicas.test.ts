import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { StreamService } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { channelKey } from '#lib/broker/broker.ts';
import { channelKeys } from '#lib/broker/redis-keys.ts';
import { edgeSizes } from '../../envoy/limits.ts';
import { CHANNEL_HEADER } from '../../envoy/stream-affinity.ts';
import { Checker } from '../support/checker.ts';
import { type Crowd, expectFlawlessEnd, gatherCrowd, untilPublished } from '../support/crowd.ts';
import { type Channel, type Deployment, listenBySse, startDeployment } from '../support/deployment.ts';
import { startEdge } from '../support/edge.ts';
import { listen } from '../support/events.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { RpcListener } from '../support/rpc-listener.ts';
import type { SseListener } from '../support/sse-listener.ts';
import { until } from '../support/until.ts';

// Three stream processes, and an edge that keeps the listeners of a channel together.

const REPLICAS = 3;

let redis: RedisServer;
let deployment: Deployment;
let checker: Checker;
const leaving: (() => void)[] = [];

beforeAll(async () => {
  redis = await startRedis();
  deployment = await startDeployment({
    redisUrl: redis.url,
    replicas: { publish: 1, stream: REPLICAS },
    // Envoy has a quarter of it to see that a process drains, and looks once a second: later on, who comes back is told an error.
    env: { DRAIN_TIMEOUT_SEC: '8' },
  });
});
afterAll(async () => {
  await deployment?.stop();
  await redis?.stop();
});
beforeEach(() => {
  checker = new Checker();
});
afterEach(async () => {
  for (const leave of leaving.splice(0)) leave();
  await until('the processes have no listeners', async () => total(await listeners()) === 0);
});

/** How many listeners each process has, as Envoy counts them. */
async function listeners(): Promise<number[]> {
  const { cluster_statuses: clusters } = JSON.parse(await deployment.edge.admin('/clusters?format=json')) as {
    cluster_statuses: {
      name: string;
      host_statuses?: {
        address: { socket_address: { port_value: number } };
        stats: { name: string; value?: string }[];
      }[];
    }[];
  };
  const hosts = clusters.find(({ name }) => name === 'stream')?.host_statuses ?? [];
  return deployment.stream.map(({ port }) => {
    const host = hosts.find(({ address }) => address.socket_address.port_value === port);
    return Number(host?.stats.find(({ name }) => name === 'rq_active')?.value ?? 0);
  });
}

const total = (counts: readonly number[]) => counts.reduce((sum, count) => sum + count, 0);
/** What a process may have of so many: where it has no more than its share, it gets one more. */
const mostOf = (all: number) => Math.ceil(Math.ceil((all * edgeSizes.affinityBoundPercent) / 100) / REPLICAS) + 1;
const least = (counts: readonly number[]) => counts.indexOf(Math.min(...counts));

/** How many processes listen to the channel on Redis. */
async function subscribers({ id }: Channel): Promise<number> {
  const { live } = channelKeys(channelKey(deployment.orgId, id));
  const [, count] = (await redis.admin.call('PUBSUB', 'SHARDNUMSUB', live)) as [string, number];
  return count;
}

/** By Conduit's form; resolves once Envoy counts it. */
async function join(channel: Channel, url = deployment.edge.url): Promise<SseListener> {
  const listener = listenBySse(deployment, channel, checker.listener(channel.id), '', url);
  leaving.push(() => listener.close());
  await until('it listens', () => listener.state === 'open');
  return listener;
}

/** A typed call that says its channel to the edge, too. */
function callOn({ id, token }: Channel): RpcListener {
  const transport = createGrpcTransport({
    baseUrl: deployment.edge.url,
    interceptors: [
      (next) => (request) => {
        request.header.set(CHANNEL_HEADER, id);
        return next(request);
      },
    ],
  });
  const client = createClient(StreamService, transport);
  return new RpcListener({ client, orgId: deployment.orgId, token, receipts: checker.listener(id) });
}

/** The JSON form, which Envoy translates to a typed call. */
async function readJson({ id, token }: Channel) {
  const path = `/v1/organizations/${deployment.orgId}/channels/${id}/messages:subscribe`;
  return listen(deployment.edge.url + path, { Authorization: `Bearer ${token}` });
}

test('all listeners of a channel are on one process, whatever form they use', async () => {
  // Others, so that the few of one channel are far from the bound.
  for (let n = 0; n < 60; n++) await join(await deployment.newChannel());
  // Some channels belong to a process that has its share already: what is said here is of those that do not.
  let channel: Channel;
  let place: number;
  let before: number[];
  do {
    channel = await deployment.newChannel();
    before = await listeners();
    await join(channel);
    const after = await listeners();
    place = after.findIndex((count, n) => count > (before[n] ?? 0));
  } while (place !== least(before));

  for (let n = 0; n < 3; n++) await join(channel);
  const call = callOn(channel);
  leaving.push(() => call.close());
  // A page of another origin may bring the header, too.
  const preflight = await fetch(`${deployment.edge.url}/tideway.stream.v1.StreamService/Subscribe`, {
    method: 'OPTIONS',
    headers: {
      origin: 'https://shop.example',
      'access-control-request-method': 'POST',
      'access-control-request-headers': CHANNEL_HEADER,
    },
  });
  expect(preflight.headers.get('access-control-allow-headers')?.split(', ')).toContain(CHANNEL_HEADER);
  const json = await readJson(channel);
  leaving.push(() => json.close());
  await until('both are on', async () => call.isOpen && json.status === 200);
  const expected = before.map((count, n) => (n === place ? count + 6 : count));
  expect(await listeners()).toEqual(expected);
  expect(await subscribers(channel)).toBe(1);
});

test('a channel of many is spread within the bound', async () => {
  const channel = await deployment.newChannel();
  for (let n = 0; n < 240; n++) await join(channel);
  const counts = await listeners();
  expect(total(counts)).toBe(240);
  expect(Math.max(...counts)).toBeLessThanOrEqual(mostOf(240));
  expect(Math.min(...counts)).toBeGreaterThan(0);
  expect(await subscribers(channel)).toBe(REPLICAS);
});

test('EDGE_STREAM_AFFINITY=none spreads every channel', async () => {
  const ports = deployment.stream.map(({ port }) => port);
  const edge = await startEdge({ publish: [], stream: ports }, { streamAffinity: 'none' });
  try {
    const channel = await deployment.newChannel();
    // Of two that are drawn, the less busy one is taken: how many it takes to reach all is not certain.
    await until('it is on all', async () => {
      await join(channel, edge.url);
      return (await subscribers(channel)) === REPLICAS;
    });
    expect(leaving.length).toBeLessThan(30);
  } finally {
    await edge.stop();
  }
});

const CROWD = { channels: 20, plain: 5, withControls: 1, typed: 1, publishPauseMs: 400 };

async function untilMoved(crowd: Crowd): Promise<void> {
  const browsers = [...crowd.plain, ...crowd.withControls];
  await until('those who were cut are back', () => {
    return (
      browsers.some(({ connections }) => connections.length > 1) &&
      [...browsers, ...crowd.typed].every((listener) =>
        'state' in listener ? listener.state === 'open' : listener.isOpen,
      )
    );
  });
}

test.each(['SIGTERM', 'SIGKILL'] as const)(
  '%s of one of three: its listeners are on the others, and miss nothing',
  async (signal) => {
    const crowd = await gatherCrowd(deployment, checker, CROWD);
    await untilPublished(crowd);
    const all = total(await listeners());
    expect(all).toBe(CROWD.channels * (CROWD.plain + CROWD.withControls + CROWD.typed));
    deployment.stream[0]?.kill(signal);
    await deployment.stream[0]?.exited;
    await untilMoved(crowd);
    await until('nobody is where nothing is', async () => {
      const [gone, ...others] = await listeners();
      return gone === 0 && total(others) === all;
    });
    await deployment.restart('stream', 0);
    await deployment.untilInUse('stream', 0);
    await untilPublished(crowd);
    await expectFlawlessEnd(crowd, checker);
  },
);

test('a process that is back gets the listeners that come, until it has its share', async () => {
  deployment.stream[1]?.kill('SIGKILL');
  await deployment.stream[1]?.exited;
  await until('it is known to be gone', async () => {
    const flags = await deployment.edge.admin('/clusters');
    return flags.includes(`127.0.0.1:${deployment.stream[1]?.port}::health_flags::/failed_active_hc`);
  });
  for (let n = 0; n < 60; n++) await join(await deployment.newChannel());
  await deployment.restart('stream', 1);
  await deployment.untilInUse('stream', 1);
  expect((await listeners())[1]).toBe(0);
  for (let n = 0; n < 60; n++) await join(await deployment.newChannel());
  expect(Math.max(...(await listeners()))).toBeLessThanOrEqual(mostOf(120));
});
