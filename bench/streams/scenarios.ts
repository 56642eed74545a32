import type { FaceName } from './faces.ts';
import {
  type FanOut,
  type IdleResult,
  measureFanOut,
  measureIdle,
  measurePublishing,
  type Publishing,
  type Result,
} from './measure.ts';
import type { PublishKind } from './publish-kinds.ts';
import type { System, SystemName, SystemParts } from './systems.ts';

export interface Size {
  readonly seconds: number;
  readonly listeners: number;
}

/** One row of the table. */
export interface Scenario extends SystemParts {
  readonly name: string;
  readonly says: string;
  readonly system: SystemName;
  /** The row of the bare loop that it is set beside; the bare loops' rows have none. */
  readonly beside?: string;
  /** Measured only where it is asked for, by its own name or this one. */
  readonly group?: string;
  readonly measure: Measure;
}

export type Measure =
  | { readonly kind: 'delivery'; run(system: System, size: Size): Promise<Result> }
  | { readonly kind: 'message'; run(system: System, size: Size): Promise<Result> }
  | { readonly kind: 'idle'; run(system: System, size: Size): Promise<IdleResult> };

const FILLER_BYTES = 120;
const ONE_CHANNEL_LISTENERS = 5_000;
const IDLE_LISTENERS = 10_000;
/** As docker-compose.yml starts a stream process. */
const STREAM_PROCESS = { NODE_OPTIONS: '--max-semi-space-size=16' };
const PUBLISH_CHANNELS = 4_000;
/**
 * Publishers that are as fast as they are answered fill the memory broker, which then refuses, within a minute's retention. So
 * less is retained, and what is trimmed meanwhile is in the cost.
 */
const PUBLISH_ENV = { STREAM_RETAIN_MESSAGES: '50', STREAM_RETAIN_SEC: '2' };
const PUBLISHERS = 32;
/** Calls of PublishStream, each on a connection of its own. */
const CALLS = 4;
/** Near the most that a message can have: so much that a reader who stops is felt within seconds. */
const LARGE_FILLER_BYTES = 15_000;

export const scenarios: readonly Scenario[] = [
  { ...fanOut('bare-sse', 'bare node:http loop', 'bare', 'sse') },
  { ...fanOut('sse', 'SSE', 'memory', 'sse'), beside: 'bare-sse' },
  { ...fanOut('sse-h2', 'SSE over HTTP/2', 'memory', 'sse-h2'), beside: 'bare-sse' },
  { ...fanOut('connect-json', 'Connect, JSON', 'memory', 'connect-json'), beside: 'bare-sse' },
  { ...fanOut('connect-binary', 'Connect, binary', 'memory', 'connect-binary'), beside: 'bare-sse' },
  { ...fanOut('grpc-web', 'gRPC-Web', 'memory', 'grpc-web'), beside: 'bare-sse' },
  { ...fanOut('grpc', 'gRPC', 'memory', 'grpc'), beside: 'bare-sse' },
  { ...fanOut('redis-sse', 'SSE, on Redis (whose own CPU is not in it)', 'redis', 'sse'), beside: 'bare-sse' },
  { ...fanOut('envoy-sse', 'SSE through Envoy, with its CPU', 'memory+envoy', 'sse'), beside: 'bare-sse' },
  { ...oneChannel('bare-one-channel', 'bare node:http loop, one channel', 'bare') },
  { ...oneChannel('one-channel', 'SSE, one channel', 'memory'), beside: 'bare-one-channel' },
  stalled('no-stalled', 'SSE, messages of 15 KB, 100 listeners × 50/s', 0),
  stalled('stalled', 'the same, one reader in ten stalled', 10),
  publish('bare-publish', 'bare node:http POST', 'bare', 'http'),
  { ...publish('publish', 'HTTP publish', 'memory', 'http'), beside: 'bare-publish' },
  { ...publish('publish-batch', 'PublishBatch, 100 messages each', 'memory', 'batch'), beside: 'bare-publish' },
  { ...publish('publish-stream', 'PublishStream', 'memory', 'stream'), beside: 'bare-publish' },
  {
    ...publish('redis-publish', 'HTTP publish, on Redis (whose own CPU is not in it)', 'redis', 'http'),
    beside: 'bare-publish',
  },
  { ...publish('redis-publish-batch', 'PublishBatch, on Redis', 'redis', 'batch'), beside: 'bare-publish' },
  { ...publish('redis-publish-stream', 'PublishStream, on Redis', 'redis', 'stream'), beside: 'bare-publish' },
  idle('idle', 'an idle listener', 'redis', 'sse'),
  idle('envoy-idle', 'an idle listener behind Envoy', 'redis+envoy', 'sse'),
  ...otherFaces(),
  ...[1, 2, 4].flatMap(replicas),
];

function fanOut(name: string, says: string, system: SystemName, face: FaceName): Scenario {
  const options = { face, channels: 10, messagesPerSec: 100, fillerBytes: FILLER_BYTES, stalledEvery: 0 };
  return { name, says, system, measure: delivering(({ listeners }) => ({ ...options, listeners })) };
}

function oneChannel(name: string, says: string, system: SystemName): Scenario {
  const options = { face: 'sse', channels: 1, messagesPerSec: 8, fillerBytes: FILLER_BYTES, stalledEvery: 0 } as const;
  return { name, says, system, measure: delivering(() => ({ ...options, listeners: ONE_CHANNEL_LISTENERS })) };
}

function stalled(name: string, says: string, stalledEvery: number): Scenario {
  // 750 KB a second to each: what the kernel holds for who doesn't read is full within seconds.
  const options = { face: 'sse', channels: 2, messagesPerSec: 100, fillerBytes: LARGE_FILLER_BYTES } as const;
  const env = { PUBLISH_RATE_PER_SEC: '0' };
  return {
    name,
    says,
    system: 'memory',
    env,
    measure: delivering(() => ({ ...options, stalledEvery, listeners: 100 })),
  };
}

function delivering(options: (size: Size) => FanOut): Measure {
  return { kind: 'delivery', run: (system, size) => measureFanOut(system, options(size), size.seconds) };
}

function publish(name: string, says: string, system: SystemName, how: PublishKind): Scenario {
  const publishers = how === 'stream' ? CALLS : PUBLISHERS;
  const options: Publishing = { how, channels: PUBLISH_CHANNELS, publishers, fillerBytes: FILLER_BYTES };
  const run = (started: System, { seconds }: Size) => measurePublishing(started, options, seconds);
  return { name, says, system, env: PUBLISH_ENV, measure: { kind: 'message', run } };
}

/** Several stream processes: how listeners come to one is what is compared. */
function replicas(streams: number): Scenario[] {
  const loads = [
    { load: 'many', says: '100 listeners a channel', listeners: 1_000, channels: 10, messagesPerSec: 100 },
    { load: 'pairs', says: '2 listeners a channel', listeners: 1_000, channels: 500, messagesPerSec: 1_000 },
    { load: 'one', says: 'one channel of 2,000 listeners', listeners: 2_000, channels: 1, messagesPerSec: 8 },
  ];
  const affinities = streams === 1 ? (['none'] as const) : (['none', 'channel'] as const);
  return loads.flatMap(({ load, says, ...sizes }) =>
    affinities.map((affinity): Scenario => {
      const options = { ...sizes, face: 'sse', fillerBytes: FILLER_BYTES, stalledEvery: 0 } as const;
      return {
        name: `streams-${streams}-${load}${affinity === 'channel' ? '-kept' : ''}`,
        says: `${streams} stream processes, ${says}${affinity === 'channel' ? ', kept together' : ''}`,
        system: 'redis+envoy',
        ...{ streams, affinity, group: 'streams' },
        measure: delivering(() => options),
      };
    }),
  );
}

/** What each face costs beyond what the table has rows for. */
function otherFaces(): Scenario[] {
  const h2 = {
    ...fanOut('connect-json-h2', 'Connect, JSON, over HTTP/2', 'memory', 'connect-json-h2'),
    beside: 'bare-sse',
  };
  const idles = [
    idle('idle-sse-h2', 'an idle listener of SSE over HTTP/2', 'redis', 'sse-h2'),
    idle('idle-connect-json', 'an idle listener of Connect', 'redis', 'connect-json'),
    idle('idle-grpc', 'an idle listener of gRPC', 'redis', 'grpc'),
  ];
  return [h2, ...idles].map((scenario) => ({ ...scenario, group: 'faces' }));
}

function idle(name: string, says: string, system: SystemName, face: FaceName): Scenario {
  const run = (started: System) => measureIdle(started, face, IDLE_LISTENERS);
  return { name, says, system, env: STREAM_PROCESS, measure: { kind: 'idle', run } };
}
