import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { edgeTimeouts } from '../../envoy/limits.ts';
import { Checker, FLAWLESS } from '../support/checker.ts';
import { type Channel, type Deployment, listenBySse, startDeployment } from '../support/deployment.ts';
import { BROKER_AWAY, HEALTHY, type HealthReport, untilHealthIs } from '../support/health.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { type RedisProxy, startRedisProxy } from '../support/redis-proxy.ts';
import type { SseListener } from '../support/sse-listener.ts';
import { expectRetryable, startStreams, untilAllGoOn } from '../support/streams.ts';
import { until } from '../support/until.ts';

let redis: RedisServer;
let proxy: RedisProxy;
let deployment: Deployment;

beforeAll(async () => {
  redis = await startRedis({ args: ['--appendonly', 'yes'] });
  proxy = await startRedisProxy(redis.port);
  deployment = await startDeployment({ redisUrl: proxy.url });
});

afterAll(async () => {
  await deployment?.stop();
  await proxy?.stop();
  await redis?.stop();
});

async function untilAllSay(expected: HealthReport): Promise<void> {
  const processes = [...deployment.publish, ...deployment.stream];
  await Promise.all(processes.map(({ port }) => untilHealthIs(port, expected)));
}

/** What a browser meets that comes while the broker is away: an answer that makes it come back. */
async function expectNewListenerIsPutOff(checker: Checker, channel: Channel): Promise<SseListener> {
  const listener = listenBySse(deployment, channel, checker.listener(channel.id));
  await until('a new listener is answered', () => listener.errors.length > 0);
  expect(listener.failedWith).toBeUndefined();
  await until('its response ends', () => listener.state === 'waiting');
  expect(listener.retryMs).toBe(3_000);
  return listener;
}

test('Redis restarts with its data: publishers are told to try again, listeners miss nothing', async () => {
  const checker = new Checker();
  const streams = await startStreams(deployment, checker);
  await untilAllGoOn(streams.publishers);
  await redis.kill();
  await untilAllSay(BROKER_AWAY);
  await until('every publisher is refused', () => streams.publishers.every(({ refusals }) => refusals.length > 0));
  const late = await expectNewListenerIsPutOff(checker, streams.channels[0] as Channel);
  await redis.restart();
  await untilAllSay(HEALTHY);
  await untilAllGoOn(streams.publishers);
  await streams.end();
  await until('who came while Redis was away has it all', () => late.hasEnded);
  expect(checker.verdict()).toEqual(FLAWLESS);
  expectRetryable(streams.publishers);
});

test('Redis stands still for 10 s: publishers are answered in time, listeners miss nothing', async () => {
  const checker = new Checker();
  const streams = await startStreams(deployment, checker);
  await untilAllGoOn(streams.publishers);
  redis.pause();
  const pause = delay(10_000);
  let late: SseListener | undefined;
  try {
    await untilAllSay(BROKER_AWAY);
    await until('every publisher is refused', () => streams.publishers.every(({ refusals }) => refusals.length > 0));
    late = await expectNewListenerIsPutOff(checker, streams.channels[0] as Channel);
    await pause;
  } finally {
    redis.resume();
  }
  await untilAllSay(HEALTHY);
  await untilAllGoOn(streams.publishers);
  await streams.end();
  await until('who came meanwhile has it all', () => late?.hasEnded === true);
  expect(checker.verdict()).toEqual(FLAWLESS);
  expectRetryable(streams.publishers);
  const slowestMs = Math.max(...streams.publishers.map((publisher) => publisher.slowestMs));
  expect(slowestMs).toBeLessThan(edgeTimeouts.unarySec * 1000);
});

test('subscriptions are cut as the stream ends: its end arrives', async () => {
  const checker = new Checker();
  const streams = await startStreams(deployment, checker);
  await untilAllGoOn(streams.publishers);
  await Promise.all(streams.publishers.map((publisher) => publisher.stop()));
  await redis.admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
  await streams.end();
  expect(checker.verdict()).toEqual(FLAWLESS);
  expect(streams.browsers.filter(({ errors }) => errors.length > 0)).toEqual([]);
});

test('subscriptions die without a word as the stream ends: its end arrives by the tail check', async () => {
  const checker = new Checker();
  const streams = await startStreams(deployment, checker);
  await untilAllGoOn(streams.publishers);
  proxy.silenceSubscribers();
  try {
    await untilAllGoOn(streams.publishers);
    await streams.end();
  } finally {
    proxy.heal();
  }
  expect(checker.verdict()).toEqual(FLAWLESS);
  expect(streams.publishers.flatMap(({ refusals }) => refusals)).toEqual([]);
  expect(streams.browsers.filter(({ errors }) => errors.length > 0)).toEqual([]);
});
