import { afterAll, beforeAll, expect, test } from 'vitest';
import { ControlType, Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { Checker, FLAWLESS } from '../support/checker.ts';
import { type Deployment, listenByRpc, listenBySse, startDeployment } from '../support/deployment.ts';
import { grpcFace, httpFace, newMessage, SteadyPublisher } from '../support/publishers.ts';
import { StreamingPublisher } from '../support/streaming-publisher.ts';
import { until } from '../support/until.ts';

const IDLE_SEC = 4;
const MAX_CONNECTION_SEC = 5;

let deployment: Deployment;

beforeAll(async () => {
  deployment = await startDeployment({
    replicas: { publish: 2, stream: 1, cleanup: 1 },
    // What a stalled reader misses stays long enough for it to come back.
    env: { DRAIN_TIMEOUT_SEC: '8', STREAM_RETAIN_MAX_BYTES: String(64 * 1024 * 1024) },
    cleanupEnv: { CLEANUP_STREAM_IDLE_SEC: String(IDLE_SEC), CLEANUP_INTERVAL_SEC: '1' },
  });
});

afterAll(() => deployment?.stop());

test('readers that stall are cut at the byte limit and resume; the others keep their pace', async () => {
  const { edge, orgId, publishToken, stream } = deployment;
  const checker = new Checker();
  const channel = await deployment.newChannel();
  const direct = `http://127.0.0.1:${stream[0]?.port}`;
  const listen = (baseUrl: string) => listenBySse(deployment, channel, checker.listener(channel.id), '', baseUrl);
  const stalled = [listen(edge.url), listen(edge.url), listen(edge.url), listen(edge.url), listen(direct)];
  const others = [listen(edge.url), listen(edge.url), listen(direct)];
  await until('everybody listens', () => [...stalled, ...others].every(({ state }) => state === 'open'));
  for (const listener of stalled) listener.stall();

  // More than the kernel's buffers on both sides, Envoy's, and the limit: nobody who reads nothing can be sent it all.
  const text = 'x'.repeat(15_000);
  const publisher = new SteadyPublisher({
    checker,
    face: httpFace(edge.url, publishToken),
    orgId,
    channel: channel.id,
    pauseMs: 0,
    text,
  });
  for (let sent = 0; sent < 1_600; sent += 100) {
    await until('a hundred more', () => publisher.acknowledged >= sent);
    await until('the others keep their pace', () => others.every(({ receipts }) => receipts.ids.length >= sent));
  }
  await publisher.end();
  await until('the others have it all', () => others.every(({ hasEnded }) => hasEnded));
  expect(others.map(({ connections }) => connections[0]?.wasCut)).not.toContain(true);

  for (const listener of stalled) listener.readOn();
  await until('those who stalled have it all', () => stalled.every(({ hasEnded }) => hasEnded));
  expect(stalled.map(({ connections }) => connections[0]?.wasCut)).toEqual(stalled.map(() => true));
  expect(checker.verdict()).toEqual(FLAWLESS);
});

test('connections of the age limit end, not all at once, and resume whole', async () => {
  const { edge, orgId, publishToken } = deployment;
  const old = await deployment.start('stream', { GATEWAY_MAX_CONNECTION_SEC: String(MAX_CONNECTION_SEC) });
  const checker = new Checker();
  const channel = await deployment.newChannel();
  const listeners = Array.from({ length: 100 }, () =>
    listenBySse(deployment, channel, checker.listener(channel.id), '', `http://127.0.0.1:${old.port}`),
  );
  const face = httpFace(edge.url, publishToken);
  const publisher = new SteadyPublisher({ checker, face, orgId, channel: channel.id, pauseMs: 100 });
  await until(
    'everybody has been back',
    () => listeners.every(({ connections: [, second] }) => second?.openedMs !== undefined),
    20_000,
  );
  await publisher.end();
  await until('everybody has it all', () => listeners.every(({ hasEnded }) => hasEnded));
  const first = listeners.map(({ connections: [connection] }) => connection);
  expect(first.filter((connection) => connection?.wasCut)).toEqual([]);
  const ages = first.map((connection) => ((connection?.endedMs ?? 0) - (connection?.openedMs ?? 0)) / 1000);
  expect(Math.max(...ages)).toBeLessThan(MAX_CONNECTION_SEC + 1);
  expect(Math.max(...ages) - Math.min(...ages)).toBeGreaterThan(0.5);
  expect(new Set(first.map((connection) => connection?.retryMs)).size).toBeGreaterThan(50);
  expect(checker.verdict()).toEqual(FLAWLESS);
});

test('a stream whose producer is lost ends after the idle limit, which cleanup alone knows', async () => {
  const { edge, orgId, publishToken } = deployment;
  const checker = new Checker();
  const channel = await deployment.newChannel();
  const browser = listenBySse(deployment, channel, checker.listener(channel.id));
  const typed = listenByRpc(deployment, channel, checker.listener(channel.id));
  const face = httpFace(edge.url, publishToken);
  for (const [sequence, phase] of [Phase.START, Phase.DELTA].entries()) {
    const sent = await face(newMessage(orgId, channel.id, phase, sequence));
    if (sent.kind === 'acknowledged') checker.acknowledge(channel.id, sent.id, sequence);
  }
  await until('a browser is told, comes back, and is stopped by a 204', () => browser.state === 'stopped');
  expect(browser.controls).toEqual(['producer_lost']);
  expect(browser.connections).toMatchObject([{ wasCut: false }, { wasCut: false }]);
  await until('a typed listener is told', () => typed.hasEnded);
  expect({ controls: typed.controls, codes: typed.codes }).toEqual({
    controls: [ControlType.PRODUCER_LOST],
    codes: [0],
  });
  expect(checker.verdict()).toEqual(FLAWLESS);

  const late = newMessage(orgId, channel.id, Phase.DELTA, 2);
  expect(await face(late)).toMatchObject({ kind: 'refused', code: '409', text: 'Stream ended' });
  expect(await grpcFace(edge.url, publishToken)(late)).toMatchObject({ code: 'FailedPrecondition' });
});

test('a publish replica that drains answers what it read of a PublishStream; the rest goes to the other replica', async () => {
  const { edge, orgId, publishToken, publish } = deployment;
  const checker = new Checker();
  const channels = await Promise.all(Array.from({ length: 8 }, () => deployment.newChannel()));
  const listeners = channels.map((channel) => listenBySse(deployment, channel, checker.listener(channel.id)));
  const publishers = channels.map(
    ({ id }) => new StreamingPublisher({ baseUrl: edge.url, token: publishToken, checker, orgId, channel: id }),
  );
  const goOn = async () => {
    const before = publishers.map(({ acknowledged }) => acknowledged);
    await until('every publisher goes on', () =>
      publishers.every(({ acknowledged }, n) => acknowledged >= (before[n] ?? 0) + 20),
    );
  };
  await goOn();
  publish[0]?.kill('SIGTERM');
  expect(await publish[0]?.exited).toBe(0);
  await goOn();
  await Promise.all(publishers.map((publisher) => publisher.end()));
  await until('every listener has its END', () => listeners.every(({ hasEnded }) => hasEnded));
  expect(checker.verdict()).toEqual(FLAWLESS);
  const codes = publishers.flatMap((publisher) => publisher.codes);
  expect(codes.length).toBeGreaterThan(0);
  expect(codes.filter((code) => code !== 'Unavailable')).toEqual([]);
});
