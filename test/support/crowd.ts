import { expect } from 'vitest';
import { type Checker, FLAWLESS } from './checker.ts';
import { type Channel, type Deployment, listenByRpc, listenBySse } from './deployment.ts';
import { httpFace, SteadyPublisher } from './publishers.ts';
import { grpcListenerClient, type RpcListener } from './rpc-listener.ts';
import type { SseListener } from './sse-listener.ts';
import { until } from './until.ts';

/** Many listeners on a few channels that are published to all the time. */
export interface Crowd {
  /** Those that ask for nothing: browsers as they are. */
  readonly plain: readonly SseListener[];
  /** Those that asked for `server_draining`. */
  readonly withControls: readonly SseListener[];
  readonly typed: readonly RpcListener[];
  readonly publishers: readonly SteadyPublisher[];
  /** Ends every stream, and waits until every listener has the END. */
  end(): Promise<void>;
}

export interface CrowdSizes {
  readonly channels: number;
  /** On each channel. */
  readonly plain: number;
  readonly withControls: number;
  readonly typed: number;
  readonly publishPauseMs: number;
}

/** Resolves once all of them listen. */
export async function gatherCrowd(deployment: Deployment, checker: Checker, sizes: CrowdSizes): Promise<Crowd> {
  const { edge, orgId, publishToken } = deployment;
  const client = grpcListenerClient(edge.url);
  const face = httpFace(edge.url, publishToken);
  const publishers: SteadyPublisher[] = [];
  const channels: Channel[] = [];
  for (let n = 0; n < sizes.channels; n++) channels.push(await deployment.newChannel());
  const times = <T>(count: number, make: (channel: Channel) => T): T[] =>
    channels.flatMap((channel) => Array.from({ length: count }, () => make(channel)));
  const join = (query: string) => (channel: Channel) =>
    listenBySse(deployment, channel, checker.listener(channel.id), query);

  const plain = times(sizes.plain, join(''));
  const withControls = times(sizes.withControls, join('&controls=1'));
  const typed = times(sizes.typed, (channel) => listenByRpc(deployment, channel, checker.listener(channel.id), client));
  await until(
    'everybody listens',
    () => [...plain, ...withControls].every(({ state }) => state === 'open') && typed.every(({ isOpen }) => isOpen),
    30_000,
  );
  for (const { id } of channels) {
    const pauseMs = sizes.publishPauseMs;
    publishers.push(new SteadyPublisher({ checker, face, orgId, channel: id, pauseMs, persists: true }));
  }
  const listeners = [...plain, ...withControls, ...typed];
  return {
    plain,
    withControls,
    typed,
    publishers,
    async end() {
      await Promise.all(publishers.map((publisher) => publisher.end()));
      await until('every listener has its END', () => listeners.every(({ hasEnded }) => hasEnded), 20_000);
    },
  };
}

/** A few messages more on every channel. */
export async function untilPublished({ publishers }: Crowd): Promise<void> {
  const before = publishers.map(({ acknowledged }) => acknowledged);
  await until('publishing goes on', () =>
    publishers.every(({ acknowledged }, n) => acknowledged >= (before[n] ?? 0) + 2),
  );
}

/** What is true of every listener in the end, whatever happened to it. */
export async function expectFlawlessEnd(crowd: Crowd, checker: Checker): Promise<void> {
  await crowd.end();
  const browsers = [...crowd.plain, ...crowd.withControls];
  // After END a browser reconnects, is answered 204, and stops.
  await until('every browser has stopped', () => browsers.every(({ state }) => state === 'stopped'));
  expect(checker.verdict()).toEqual(FLAWLESS);
  expect(crowd.publishers.flatMap(({ refusals }) => refusals)).toEqual([]);
  expect(crowd.typed.filter(({ hasEnded, failure }) => !hasEnded || failure !== undefined)).toEqual([]);
  expect(browsers.flatMap(({ errors }) => errors)).toEqual([]);
}
