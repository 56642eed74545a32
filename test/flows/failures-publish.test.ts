import { afterAll, beforeAll, expect, test } from 'vitest';
import { Checker, FLAWLESS } from '../support/checker.ts';
import { type Deployment, listenBySse, startDeployment } from '../support/deployment.ts';
import { type Face, grpcFace, httpFace, jsonFace, SteadyPublisher } from '../support/publishers.ts';
import type { SseListener } from '../support/sse-listener.ts';
import { StreamingPublisher } from '../support/streaming-publisher.ts';
import { until } from '../support/until.ts';

const PUBLISHERS_PER_FACE = 4;
/** So many more messages of each publisher show that publishing goes on. */
const PROOF = 15;

let deployment: Deployment;

beforeAll(async () => {
  deployment = await startDeployment({
    replicas: { publish: 2, stream: 1 },
    env: { DRAIN_TIMEOUT_SEC: '8' },
  });
});

afterAll(() => deployment?.stop());

interface Load {
  readonly publishers: SteadyPublisher[];
  /** On PublishStream, which nobody repeats for them: they do it themselves. */
  readonly streaming: StreamingPublisher[];
  readonly listeners: SseListener[];
}

async function startLoad(checker: Checker): Promise<Load> {
  const { edge, orgId, publishToken } = deployment;
  const faces: Face[] = [
    httpFace(edge.url, publishToken),
    grpcFace(edge.url, publishToken),
    jsonFace(edge.url, publishToken),
  ];
  const publishers: SteadyPublisher[] = [];
  const streaming: StreamingPublisher[] = [];
  const listeners: SseListener[] = [];
  for (const face of faces) {
    for (let n = 0; n < PUBLISHERS_PER_FACE; n++) {
      const channel = await deployment.newChannel();
      listeners.push(listenBySse(deployment, channel, checker.listener(channel.id)));
      publishers.push(new SteadyPublisher({ checker, face, orgId, channel: channel.id, pauseMs: 10 }));
    }
  }
  for (let n = 0; n < PUBLISHERS_PER_FACE; n++) {
    const channel = await deployment.newChannel();
    listeners.push(listenBySse(deployment, channel, checker.listener(channel.id)));
    streaming.push(
      new StreamingPublisher({ baseUrl: edge.url, token: publishToken, checker, orgId, channel: channel.id }),
    );
  }
  return { publishers, streaming, listeners };
}

async function untilAllGoOn({ publishers: steady, streaming }: Load): Promise<void> {
  const publishers = [...steady, ...streaming];
  const before = publishers.map(({ acknowledged }) => acknowledged);
  await until('every publisher goes on', () =>
    publishers.every(({ acknowledged }, n) => acknowledged >= (before[n] ?? 0) + PROOF),
  );
}

async function finish({ publishers, streaming, listeners }: Load, checker: Checker): Promise<void> {
  await Promise.all([...publishers, ...streaming].map((publisher) => publisher.end()));
  await until('every listener has its END', () => listeners.every(({ hasEnded }) => hasEnded));
  expect(publishers.flatMap(({ refusals }) => refusals)).toEqual([]);
  expect(checker.verdict()).toEqual(FLAWLESS);
}

test('kill -9 of one of two publish replicas under load: no publish fails, none is stored twice', async () => {
  const checker = new Checker();
  const load = await startLoad(checker);
  for (const replica of [0, 1]) {
    await untilAllGoOn(load);
    deployment.publish[replica]?.kill('SIGKILL');
    await untilAllGoOn(load);
    await deployment.restart('publish', replica);
    await deployment.untilInUse('publish', replica);
  }
  await untilAllGoOn(load);
  await finish(load, checker);
  // Somebody was in the way of each kill, or it showed nothing.
  const retried = /cluster\.publish\.upstream_rq_retry: (\d+)/.exec(await deployment.edge.admin('/stats'))?.[1];
  expect(Number(retried)).toBeGreaterThan(1);
});

test('SIGTERM of one of two publish replicas under load: no publish fails, none is stored twice', async () => {
  const checker = new Checker();
  const load = await startLoad(checker);
  await untilAllGoOn(load);
  const leaving = deployment.publish[1];
  leaving?.kill('SIGTERM');
  expect(await leaving?.exited).toBe(0);
  await untilAllGoOn(load);
  await finish(load, checker);
});
