import { fork } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadOrCreateDevelopmentKeys } from '#lib/auth/development-keys.ts';
import { createPublishTokenSigner } from '#lib/auth/publish-token-signer.ts';
import { createStreamTokenSigner } from '#lib/auth/stream-token-signer.ts';
import { startEdge } from '../../test/support/edge.ts';
import { startRedis } from '../../test/support/redis.ts';
import { startService } from '../../test/support/tideway.ts';
import type { Place } from './jobs.ts';
import { childrenOfThis } from './proc.ts';

/** What is measured, started for one measurement, on free ports of the loopback interface. */
export interface System extends AsyncDisposable {
  readonly publish: Place;
  readonly stream: Place;
  /** Whose CPU is the cost. */
  readonly pids: readonly number[];
  /** Whose memory listeners take. */
  readonly streamPid: number;
  /** Others whose CPU is told beside it. */
  readonly beside: Readonly<Record<string, number>>;
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

export const ORG_ID = 7;
const HOST = '127.0.0.1';
/** What development calls the issuer and the audience. */
const NAME = 'tideway';

export async function startSystem(name: SystemName, env: Env = {}): Promise<System> {
  const stack = new AsyncDisposableStack();
  try {
    return name === 'bare' ? await startBare(stack) : await startTideway(name, env, stack);
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
    ...{ publish: place, stream: place, pids: [pid], streamPid: pid, beside: {} },
    publishToken: async () => '',
    streamToken: async () => '',
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

async function startTideway(
  name: Exclude<SystemName, 'bare'>,
  settings: Env,
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
    const process = await startService(service, { TIDEWAY_DATA_DIR: dir, ...settings, ...env });
    stack.defer(async () => {
      process.kill('SIGKILL');
      await process.exited;
    });
    return process;
  };
  const beside: Record<string, number> = {};
  let publish: Place & { readonly pid: number };
  let stream: Place & { readonly pid: number };
  if (name.startsWith('redis')) {
    const redis = stack.use(await startRedis());
    beside['Redis'] = Number(/process_id:(\d+)/.exec(await redis.admin.info('server'))?.[1]);
    const env = { REDIS_URL: redis.url };
    const [first, second] = await Promise.all([start('publish', env), start('stream', env)]);
    publish = { host: HOST, port: first.port, pid: first.pid };
    stream = { host: HOST, port: second.port, pid: second.pid };
  } else {
    const monolith = await start('monolith');
    publish = { host: HOST, port: monolith.port, pid: monolith.pid };
    stream = publish;
  }
  const pids = new Set([publish.pid, stream.pid]);
  const system = {
    ...{ publish, stream, pids: [...pids], streamPid: stream.pid, beside },
    ...tokensOf(keys),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
  if (!name.endsWith('+envoy')) return system;

  const others = childrenOfThis('envoy');
  const edge = await startEdge({ publish: [publish.port], stream: [stream.port] });
  stack.defer(() => edge.stop());
  const envoyPids = childrenOfThis('envoy').filter((pid) => !others.includes(pid));
  const [envoyPid] = envoyPids;
  if (envoyPid !== undefined) beside['Envoy'] = envoyPid;
  const place = { host: HOST, port: edge.port };
  return { ...system, publish: place, stream: place, pids: [...pids, ...envoyPids] };
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
