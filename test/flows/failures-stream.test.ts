import { afterAll, beforeAll, expect, test } from 'vitest';
import { ControlType } from '#gen/tideway/stream/v1/message_pb.ts';
import { Checker } from '../support/checker.ts';
import { expectFlawlessEnd, gatherCrowd, untilPublished } from '../support/crowd.ts';
import { type Deployment, startDeployment } from '../support/deployment.ts';
import type { SseListener } from '../support/sse-listener.ts';
import { until } from '../support/until.ts';

const DRAIN_TIMEOUT_SEC = 8;
const CROWD = { channels: 10, plain: 90, withControls: 10, typed: 2, publishPauseMs: 400 };

let deployment: Deployment;

beforeAll(async () => {
  deployment = await startDeployment({
    replicas: { publish: 1, stream: 2 },
    env: { DRAIN_TIMEOUT_SEC: String(DRAIN_TIMEOUT_SEC) },
  });
});

afterAll(() => deployment?.stop());

function moved(listeners: readonly SseListener[]): SseListener[] {
  return listeners.filter(({ connections }) => connections.length > 1);
}

/** The largest share of the reconnects that came within the same 100 ms. */
function largestBin(listeners: readonly SseListener[]): number {
  const bins = new Map<number, number>();
  for (const { connections } of listeners) {
    const bin = Math.floor((connections[1]?.askedMs ?? 0) / 100);
    bins.set(bin, (bins.get(bin) ?? 0) + 1);
  }
  return Math.max(...bins.values()) / listeners.length;
}

test('SIGTERM of one of two stream replicas under 1,000 listeners: all move on, spread, and miss nothing', async () => {
  const checker = new Checker();
  const crowd = await gatherCrowd(deployment, checker, CROWD);
  await untilPublished(crowd);
  const leaving = deployment.stream[0];
  const startMs = performance.now();
  leaving?.kill('SIGTERM');
  expect(await leaving?.exited).toBe(0);
  expect(performance.now() - startMs).toBeLessThan(DRAIN_TIMEOUT_SEC * 1000);

  const browsers = [...crowd.plain, ...crowd.withControls];
  await until('those who were sent away are back', () => browsers.every(({ state }) => state === 'open'));
  const movers = moved(browsers);
  expect(movers.length).toBeGreaterThan(browsers.length / 4);
  // Each was ended, not cut, and told when to come back; once.
  expect(movers.filter(({ connections }) => connections.length > 2 || connections[0]?.wasCut)).toEqual([]);
  const told = movers.map(({ connections }) => connections[0]?.retryMs ?? 0);
  expect(new Set(told).size).toBeGreaterThan(told.length / 4);
  expect(largestBin(movers)).toBeLessThan(0.2);

  expect(crowd.plain.flatMap(({ controls }) => controls)).toEqual([]);
  for (const { controls } of moved(crowd.withControls)) expect(controls).toEqual(['server_draining']);
  expect(moved(crowd.withControls).length).toBeGreaterThan(0);
  const movedTyped = crowd.typed.filter(({ codes }) => codes.length > 0);
  expect(movedTyped.length).toBeGreaterThan(0);
  for (const { controls, codes } of movedTyped) {
    expect({ controls, codes }).toEqual({ controls: [ControlType.SERVER_DRAINING], codes: [0] });
  }
  await expectFlawlessEnd(crowd, checker);
});

test('kill -9 of one of two stream replicas under 1,000 listeners: all resume, and miss nothing', async () => {
  await deployment.restart('stream', 0);
  await deployment.untilInUse('stream', 0);
  const checker = new Checker();
  const crowd = await gatherCrowd(deployment, checker, CROWD);
  await untilPublished(crowd);
  deployment.stream[1]?.kill('SIGKILL');
  const browsers = [...crowd.plain, ...crowd.withControls];
  await until('those who were cut are back', () => {
    return moved(browsers).length > 0 && browsers.every(({ state }) => state === 'open');
  });
  await untilPublished(crowd);
  await expectFlawlessEnd(crowd, checker);
});
