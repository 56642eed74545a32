import { fork } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadOrCreateDevelopmentKeys } from '#lib/auth/development-keys.ts';
import { createPublishTokenSigner } from '#lib/auth/publish-token-signer.ts';
import { createStreamTokenSigner } from '#lib/auth/stream-token-signer.ts';
import type { StreamAffinity } from '../../envoy/options.ts';
import { allStarted } from '../../test/support/all-started.ts';
import { startEdge } from '../../test/support/edge.ts';
import { childrenOf } from '../../test/support/processes.ts';
import { type RedisServer, startRedis } from '../../test/support/redis.ts';
import { startService } from '../../test/support/tideway.ts';
import type { Place } from './jobs.ts';

/** What is measured, started for one measurement, on free ports of the loopback interface. */
export interface System extends AsyncDisposable {
  readonly publish: Place;
  readonly stream: Place;
  /** Whose CPU is the cost. */
  readonly pids: readonly number[];
  /** Whose memory listeners take. */
  readonly streamPids: readonly number[];
  /** Whose CPU is told beside it, whether it is in it or not. */
  readonly beside: Readonly<Record<string, readonly number[]>>;
  /** On how many channels the stream processes listen, together; undefined where none is between them. */
  subscriptions?(): Promise<number>;
  publishToken(): Promise<string>;
  streamToken(channelId: string): Promise<string>;
}

/**
 * `bare`: a loop of node:http. `memory`: the monolith, as `npm start` runs it. `redis`: the publish and the stream service
 * apart. With `+envoy`: Envoy in front of it, its CPU included.
 */
export type SystemName = 'bare' | 'memory' | 'redis' | 'memory+envoy' | 'redis+envoy';

/** Settings, by their names in the environment. */
export type Env = Readonly<Record<string, string>>;

export interface SystemParts {
  readonly env?: Env;
  /** Stream processes, on Redis and behind Envoy. Where it is said, even if it is one, Redis's CPU is in the cost. */
  readonly streams?: number;
  readonly affinity?: StreamAffinity;
}

export const ORG_ID = 7;
const HOST = '127.0.0.1';
/** What development calls the issuer and the audience. */
const NAME = 'tideway';

export async function startSystem(name: SystemName, parts: SystemParts = {}): Promise<System> {
  const stack = new AsyncDisposableStack();
  try {
    return name === 'bare' ? await startBare(stack) : await startTideway(name, parts, stack);
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

async function startBare(stack: AsyncDisposableStack): Promise<System> {
  const child = fork(new URL('bare-loop.ts', import.meta.url));
  stack.defer(() => void child.kill('SIGKILL'));
  const [port] = (await once(child, 'message')) as [number];
  const place = { host: HOST, port };
  const pid = child.pid ?? -1;
  return {
    ...{ publish: place, stream: place, pids: [pid], streamPids: [pid], beside: {} },
    publishToken: async () => '',
    streamToken: async () => '',
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

async function startTideway(
  name: Exclude<SystemName, 'bare'>,
  { env: settings = {}, streams: count, affinity = 'none' }: SystemParts,
  stack: AsyncDisposableStack,
): Promise<System> {
  const dir = await mkdtemp(join(tmpdir(), 'tideway-bench-'));
  const remove = () => rmSync(dir, { recursive: true, force: true });
  // It has keys in it: it goes in an interruption, too.
  process.once('exit', remove);
  stack.defer(() => {
    process.off('exit', remove);
    remove();
  });
  const keys = await loadOrCreateDevelopmentKeys(dir);
  const start = async (service: 'monolith' | 'publish' | 'stream', env: Env = {}) => {
    const process = await startService(service, { TIDEWAY_DATA_DIR: dir, ...settings, ...env }, dir);
    stack.defer(async () => {
      process.kill('SIGKILL');
      await process.exited;
    });
    return process;
  };
  const beside: Record<string, readonly number[]> = {};
  const pids = new Set<number>();
  let publish: Place & { readonly pid: number };
  let streams: readonly (Place & { readonly pid: number })[];
  let subscriptions: System['subscriptions'];
  if (name.startsWith('redis')) {
    const redis = stack.use(await startRedis());
    const redisPid = Number(/process_id:(\d+)/.exec(await redis.admin.info('server'))?.[1]);
    beside['Redis'] = [redisPid];
    if (count !== undefined) pids.add(redisPid);
    const env = { REDIS_URL: redis.url };
    const starting = Array.from({ length: count ?? 1 }, () => start('stream', env));
    const [first, ...others] = await allStarted([start('publish', env), ...starting]);
    publish = { host: HOST, port: first.port, pid: first.pid };
    streams = others.map(({ port, pid }) => ({ host: HOST, port, pid }));
    subscriptions = () => subscriptionsOn(redis);
  } else {
    const monolith = await start('monolith');
    publish = { host: HOST, port: monolith.port, pid: monolith.pid };
    streams = [publish];
  }
  const streamPids = streams.map(({ pid }) => pid);
  for (const pid of [publish.pid, ...streamPids]) pids.add(pid);
  if (count !== undefined) beside['stream'] = streamPids;
  const system = {
    ...{ publish, stream: streams[0] ?? publish, pids: [...pids], streamPids, beside },
    ...(subscriptions === undefined ? {} : { subscriptions }),
    ...tokensOf(keys),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
  if (!name.endsWith('+envoy')) return system;

  const others = envoys();
  const edge = await startEdge(
    { publish: [publish.port], stream: streams.map(({ port }) => port) },
    { streamAffinity: affinity },
  );
  stack.defer(() => edge.stop());
  const envoyPids = envoys().filter((pid) => !others.includes(pid));
  beside['Envoy'] = envoyPids;
  const place = { host: HOST, port: edge.port };
  return { ...system, publish: place, stream: place, pids: [...pids, ...envoyPids] };
}

/** Of this process. */
function envoys(): number[] {
  return childrenOf(process.pid).flatMap(({ pid, command }) => (/^\S*envoy /.test(command) ? [pid] : []));
}

/** Of all processes together: a channel that two follow counts twice. */
async function subscriptionsOn({ admin }: RedisServer): Promise<number> {
  const channels = (await admin.call('PUBSUB', 'SHARDCHANNELS')) as string[];
  const counts = channels.length === 0 ? [] : ((await admin.call('PUBSUB', 'SHARDNUMSUB', ...channels)) as unknown[]);
  return counts.reduce<number>((sum, value) => sum + (typeof value === 'number' ? value : 0), 0);
}

function tokensOf(keys: Awaited<ReturnType<typeof loadOrCreateDevelopmentKeys>>) {
  const settings = { issuer: NAME, audience: NAME, ttlSec: 3600 };
  const publishers = createPublishTokenSigner({ name: 'bench', secret: keys.publishSecret, ...settings });
  const listeners = createStreamTokenSigner({ name: 'bench', privateKeyPem: keys.privateKeyPem, ...settings });
  return {
    publishToken: () => publishers.sign({ subject: 'bench' }),
    streamToken: (channelId: string) => listeners.sign({ orgId: BigInt(ORG_ID), channelId }),
  };
}
