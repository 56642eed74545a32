import { expect } from 'vitest';
import type { Checker } from './checker.ts';
import { type Channel, type Deployment, listenByRpc, listenBySse } from './deployment.ts';
import { grpcFace, httpFace, jsonFace, SteadyPublisher } from './publishers.ts';
import { grpcListenerClient, type RpcListener } from './rpc-listener.ts';
import type { SseListener } from './sse-listener.ts';
import { until } from './until.ts';

/** One stream by each way in, each with listeners by both ways out. */
export interface Streams {
  readonly channels: readonly Channel[];
  readonly publishers: readonly SteadyPublisher[];
  readonly browsers: readonly SseListener[];
  readonly typed: readonly RpcListener[];
  /** Ends every stream, and waits until every listener has the END. */
  end(): Promise<void>;
}

/** So many more messages of each publisher show that publishing goes on. */
const PROOF = 10;

/** Resolves once all of them listen and publish; publishers persist until they are acknowledged. */
export async function startStreams(
  deployment: Deployment,
  checker: Checker,
  { perFace = 1, pauseMs = 20 } = {},
): Promise<Streams> {
  const { edge, orgId, publishToken } = deployment;
  const client = grpcListenerClient(edge.url);
  const faces = [httpFace, grpcFace, jsonFace].map((face) => face(edge.url, publishToken));
  const channels: Channel[] = [];
  for (let n = 0; n < perFace * faces.length; n++) channels.push(await deployment.newChannel());
  const browsers = channels.map((channel) => listenBySse(deployment, channel, checker.listener(channel.id)));
  const typed = channels.map((channel) => listenByRpc(deployment, channel, checker.listener(channel.id), client));
  await until('everybody listens', () => {
    return browsers.every(({ state }) => state === 'open') && typed.every(({ isOpen }) => isOpen);
  });
  // On a busy machine somebody may have had to come twice: what counts is told from here on.
  for (const { errors } of browsers) errors.splice(0);
  for (const { codes } of typed) codes.splice(0);
  const publishers = channels.map(({ id }, n) => {
    const face = faces[n % faces.length] as (typeof faces)[number];
    return new SteadyPublisher({ checker, face, orgId, channel: id, pauseMs, persists: true });
  });
  const listeners = [...browsers, ...typed];
  return {
    channels,
    publishers,
    browsers,
    typed,
    async end() {
      await Promise.all(publishers.map((publisher) => publisher.end()));
      await until('every listener has its END', () => listeners.every(({ hasEnded }) => hasEnded));
    },
  };
}

export async function untilAllGoOn(publishers: readonly SteadyPublisher[]): Promise<void> {
  const before = publishers.map(({ acknowledged }) => acknowledged);
  await until('every publisher goes on', () =>
    publishers.every(({ acknowledged }, n) => acknowledged >= (before[n] ?? 0) + PROOF),
  );
}

/** Every refusal says that trying again is safe, and when. */
export function expectRetryable(publishers: readonly SteadyPublisher[]): void {
  const refusals = publishers.flatMap((publisher) => publisher.refusals);
  expect(refusals.length).toBeGreaterThan(0);
  expect(refusals.filter(({ code }) => code !== '503' && code !== 'Unavailable')).toEqual([]);
  expect(refusals.filter(({ retryAfterMs, text }) => retryAfterMs === undefined || text === '')).toEqual([]);
}
