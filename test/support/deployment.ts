import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadOrCreateDevelopmentKeys } from '#lib/auth/development-keys.ts';
import { createPublishTokenSigner } from '#lib/auth/publish-token-signer.ts';
import { createStreamTokenSigner } from '#lib/auth/stream-token-signer.ts';
import { allStarted } from './all-started.ts';
import type { Receipts } from './checker.ts';
import { type Edge, startEdge } from './edge.ts';
import { startRedis } from './redis.ts';
import { grpcListenerClient, RpcListener } from './rpc-listener.ts';
import { SseListener } from './sse-listener.ts';
import { type ServiceName, type ServiceProcess, startService } from './tideway.ts';
import { until } from './until.ts';

/** The services apart, each a process of its own, in front of a real broker and behind real Envoy. */
export interface Deployment extends AsyncDisposable {
  readonly edge: Edge;
  readonly publish: ServiceProcess[];
  readonly stream: ServiceProcess[];
  readonly cleanup: ServiceProcess[];
  readonly orgId: bigint;
  readonly publishToken: string;
  /** One that nobody knows yet. */
  newChannel(): Promise<Channel>;
  /** Resolves when Envoy sends requests to this replica. */
  untilInUse(name: 'publish' | 'stream', replica: number): Promise<void>;
  /** Starts another process with the same settings and more; the edge doesn't know it. */
  start(name: ServiceName, env?: Readonly<Record<string, string>>): Promise<ServiceProcess>;
  /** Starts a replica that has ended again, on the port that it had. */
  restart(name: 'publish' | 'stream', replica: number): Promise<void>;
  stop(): Promise<void>;
}

export interface Channel {
  readonly id: string;
  readonly token: string;
}

export interface DeploymentOptions {
  /** By default that of a Redis of its own. */
  readonly redisUrl?: string;
  /** How many of each; none by default for cleanup, one for the others. */
  readonly replicas?: { readonly publish?: number; readonly stream?: number; readonly cleanup?: number };
  /** For all services. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cleanupEnv?: Readonly<Record<string, string>>;
}

const ORG_ID = 7n;
/** What development calls the issuer and the audience. */
const NAME = 'tideway';

export async function startDeployment(options: DeploymentOptions = {}): Promise<Deployment> {
  const { replicas = {}, env = {}, cleanupEnv = {} } = options;
  const redis = options.redisUrl === undefined ? await startRedis() : undefined;
  const redisUrl = options.redisUrl ?? redis?.url ?? '';
  const dir = await mkdtemp(join(tmpdir(), 'tideway-deployment-'));
  const keys = await loadOrCreateDevelopmentKeys(dir);
  const common = { TIDEWAY_DATA_DIR: dir, REDIS_URL: redisUrl, PUBLISH_RATE_PER_SEC: '0', ...env };
  const processes: ServiceProcess[] = [];
  let edge: Edge | undefined;

  async function start(name: ServiceName, more: Readonly<Record<string, string>> = {}): Promise<ServiceProcess> {
    const service = await startService(name, { ...common, ...more }, dir);
    processes.push(service);
    return service;
  }
  const startAll = (name: ServiceName, count: number, more = {}) =>
    allStarted(Array.from({ length: count }, () => start(name, more)));
  async function stop(): Promise<void> {
    await edge?.stop();
    for (const service of processes) service.kill('SIGKILL');
    await Promise.all(processes.map(({ exited }) => exited));
    await redis?.stop();
    await rm(dir, { recursive: true, force: true });
  }

  try {
    const [publish, stream, cleanup] = await allStarted([
      startAll('publish', replicas.publish ?? 1),
      startAll('stream', replicas.stream ?? 1),
      startAll('cleanup', replicas.cleanup ?? 0, cleanupEnv),
    ]);
    const started = await startEdge({ publish: publish.map(portOf), stream: stream.map(portOf) });
    edge = started;
    const settings = { issuer: NAME, audience: NAME, ttlSec: 3600 };
    const publishSigner = createPublishTokenSigner({ name: 'test', secret: keys.publishSecret, ...settings });
    const streamSigner = createStreamTokenSigner({ name: 'test', privateKeyPem: keys.privateKeyPem, ...settings });
    const publishToken = await publishSigner.sign({ subject: 'test' });
    const portSettings = { publish: 'PUBLISH_PORT', stream: 'GATEWAY_PORT' } as const;
    const groups = { publish, stream };
    return {
      edge: started,
      publish,
      stream,
      cleanup,
      orgId: ORG_ID,
      publishToken,
      start,
      async newChannel() {
        const id = randomUUID();
        return { id, token: await streamSigner.sign({ orgId: ORG_ID, channelId: id }) };
      },
      async untilInUse(name, replica) {
        const host = `${name}::127.0.0.1:${groups[name][replica]?.port}`;
        await until(`${host} is in use`, async () => {
          return (await started.admin('/clusters')).includes(`${host}::health_flags::healthy`);
        });
      },
      async restart(name, replica) {
        const { port } = groups[name][replica] as ServiceProcess;
        groups[name][replica] = await start(name, { [portSettings[name]]: String(port) });
      },
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function portOf({ port }: ServiceProcess): number {
  return port;
}

/** `baseUrl` is the edge's, or that of a service's own port. */
export function listenBySse(
  deployment: Deployment,
  channel: Channel,
  receipts: Receipts,
  query = '',
  baseUrl = deployment.edge.url,
): SseListener {
  const { orgId } = deployment;
  const url = `${baseUrl}/events/${orgId}?token=${channel.token}&channel_id=${channel.id}${query}`;
  return new SseListener({ url, receipts });
}

export function listenByRpc(
  deployment: Deployment,
  channel: Channel,
  receipts: Receipts,
  client = grpcListenerClient(deployment.edge.url),
): RpcListener {
  return new RpcListener({ client, orgId: deployment.orgId, token: channel.token, receipts });
}
