import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { FaceName } from './faces.ts';
import type { ListenJob, PublishJob } from './jobs.ts';
import { LoadProcess } from './load-process.ts';
import { cpuUs, residentKiB } from './proc.ts';
import type { PublishKind } from './publish-kinds.ts';
import { ORG_ID, type System } from './systems.ts';

/** Before anything is counted: V8 compiles, connections are made. */
const WARM_UP_MS = 3_000;
/** For what joining left behind. */
const SETTLE_MS = 500;
/** As long as a garbage collection and the keep-alives of idle listeners take to have come. */
const IDLE_MS = 10_000;
const FAN_OUT_PUBLISHERS = 32;

/** CPU is of one delivery, or of one message published. */
export interface Result {
  readonly cpuUs: number;
  /** A share of cpuUs, or beside it: by program. */
  readonly besideUs: Readonly<Record<string, number>>;
  readonly loadUs: number;
  readonly perSec: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly delivered: number;
  readonly expected: number;
  /** How many subscriptions on Redis there were, where that is counted. */
  readonly subscriptions?: number;
  /** What the stream processes had resident in the end, together. */
  readonly streamMib?: number;
  /** What the busiest of several stream processes took, as a multiple of their mean: more cores help that much less. */
  readonly busiest?: number;
  /** What should not be there. */
  readonly problems: readonly string[];
}

export interface FanOut {
  readonly face: FaceName;
  readonly listeners: number;
  readonly channels: number;
  readonly messagesPerSec: number;
  readonly fillerBytes: number;
  readonly stalledEvery: number;
}

export interface Publishing {
  readonly how: PublishKind;
  readonly channels: number;
  readonly publishers: number;
  readonly fillerBytes: number;
}

export async function measureFanOut(system: System, fanOut: FanOut, seconds: number): Promise<Result> {
  using listening = new LoadProcess('load-listeners.ts');
  using publishing = new LoadProcess('load-publishers.ts');
  const channels = await channelsOf(system, fanOut.channels);
  const { face, listeners, stalledEvery } = fanOut;
  const { connected, refused } = await listening.ask(
    {
      kind: 'listen',
      place: system.stream,
      orgId: ORG_ID,
      channels,
      face,
      listeners,
      stalledEvery,
    } satisfies ListenJob,
    'listening',
  );
  await delay(SETTLE_MS);
  const channelIds = channels.map(({ id }) => id);
  await publishing.ask(
    await publishJob(system, { ...fanOut, how: 'http', publishers: FAN_OUT_PUBLISHERS }, channelIds),
    'publishing',
  );
  await delay(WARM_UP_MS);

  const taking = takeCpu(system, [listening.pid, publishing.pid]);
  await listening.ask({ kind: 'begin' }, 'begun');
  await delay(seconds * 1000);
  const { measured } = await listening.ask({ kind: 'end' }, 'measured');
  const taken = taking.each(measured.count);
  const subscriptions = await system.subscriptions?.();
  const streamMib = residentKiB(system.streamPids) / 1024;

  const published = await publishing.ask({ kind: 'finish' }, 'published');
  const heard = await listening.ask({ kind: 'finish' }, 'heard');
  const wanted = heard.received.map((got, n) => (got < 0 ? 0 : (published.acknowledged[n % channels.length] ?? 0)));
  const wrong = heard.received.filter((got, n) => got >= 0 && got !== wanted[n]).length;
  return {
    ...taken,
    ...(subscriptions === undefined ? {} : { subscriptions, streamMib }),
    ...{ p50Ms: measured.p50Ms, p99Ms: measured.p99Ms },
    delivered: sumOf(heard.received.filter((got) => got >= 0)),
    expected: sumOf(wanted),
    problems: [
      problem(refused, `of ${connected + refused} listeners were refused`),
      problem(heard.closed, 'listeners were cut'),
      problem(wrong, 'listeners have not what was acknowledged'),
      ...refusalsOf(published.refusals),
      // Whoever stops reading is to be cut, and is not if it was too short to tell.
      ...(stalledEvery > 0 ? [`${heard.stalledCut} of ${Math.floor(listeners / stalledEvery)} stalled were cut`] : []),
    ].filter((text) => text !== undefined),
  };
}

export async function measurePublishing(system: System, options: Publishing, seconds: number): Promise<Result> {
  using publishing = new LoadProcess('load-publishers.ts');
  const channelIds = Array.from({ length: options.channels }, () => randomUUID());
  await publishing.ask(await publishJob(system, { ...options, messagesPerSec: 0 }, channelIds), 'publishing');
  await delay(WARM_UP_MS);

  const taking = takeCpu(system, [publishing.pid]);
  await publishing.ask({ kind: 'begin' }, 'begun');
  await delay(seconds * 1000);
  const { measured } = await publishing.ask({ kind: 'end' }, 'measured');
  const taken = taking.each(measured.count);

  const { acknowledged, refusals } = await publishing.ask({ kind: 'finish' }, 'published');
  const total = sumOf(acknowledged);
  return {
    ...taken,
    ...{
      p50Ms: measured.p50Ms,
      p99Ms: measured.p99Ms,
      delivered: total,
      expected: total + sumOf(Object.values(refusals)),
    },
    problems: refusalsOf(refusals),
  };
}

export interface IdleResult {
  readonly kibPerListener: number;
  readonly cpuPercent: number;
  readonly connected: number;
  readonly problems: readonly string[];
}

export async function measureIdle(system: System, face: FaceName, listeners: number): Promise<IdleResult> {
  using listening = new LoadProcess('load-listeners.ts');
  const channels = await channelsOf(system, 10);
  await delay(1_000);
  const before = residentKiB(system.streamPids);
  const { connected, refused } = await listening.ask(
    { kind: 'listen', place: system.stream, orgId: ORG_ID, channels, face, listeners, stalledEvery: 0 },
    'listening',
  );
  await delay(SETTLE_MS);
  const cpuBefore = cpuUs(system.streamPids);
  await delay(IDLE_MS);
  return {
    kibPerListener: (residentKiB(system.streamPids) - before) / connected,
    cpuPercent: (cpuUs(system.streamPids) - cpuBefore) / (IDLE_MS * 10),
    connected,
    problems: [problem(refused, 'listeners were refused')].filter((text) => text !== undefined),
  };
}

function takeCpu(system: System, loadPids: readonly number[]) {
  const startMs = performance.now();
  const besides = Object.entries(system.beside);
  const now = () => ({
    own: cpuUs(system.pids),
    load: cpuUs(loadPids),
    beside: besides.map(([, pids]) => cpuUs(pids)),
    streams: system.streamPids.map((pid) => cpuUs([pid])),
  });
  const before = now();
  return {
    each(count: number) {
      const after = now();
      const streams = after.streams.map((us, n) => us - (before.streams[n] ?? 0));
      return {
        busiest: (Math.max(...streams) * streams.length) / sumOf(streams),
        cpuUs: (after.own - before.own) / count,
        loadUs: (after.load - before.load) / count,
        besideUs: Object.fromEntries(
          besides.map(([name], n) => [name, ((after.beside[n] ?? 0) - (before.beside[n] ?? 0)) / count]),
        ),
        perSec: (count * 1000) / (performance.now() - startMs),
      };
    },
  };
}

async function channelsOf(system: System, count: number): Promise<ListenJob['channels']> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const id = randomUUID();
      return { id, token: await system.streamToken(id) };
    }),
  );
}

async function publishJob(
  system: System,
  options: Publishing & { readonly messagesPerSec: number },
  channelIds: readonly string[],
): Promise<PublishJob> {
  const { how, messagesPerSec, publishers, fillerBytes } = options;
  const token = await system.publishToken();
  const common = { kind: 'publish', place: system.publish, orgId: ORG_ID, channelIds, token } as const;
  return { ...common, how, messagesPerSec, publishers, fillerBytes };
}

function problem(count: number, text: string): string | undefined {
  return count === 0 ? undefined : `${count} ${text}`;
}

function refusalsOf(refusals: Readonly<Record<string, number>>): string[] {
  return Object.entries(refusals).map(([refusal, count]) => `${count} messages were answered by ${refusal}`);
}

function sumOf(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0);
}
