import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadOrCreateDevelopmentKeys } from '#lib/auth/development-keys.ts';
import { allStarted } from './all-started.ts';
import { type Edge, startEdge } from './edge.ts';
import { freePort } from './free-port.ts';
import { JsonApi } from './json-api.ts';
import { type KafkaServer, startKafka } from './kafka.ts';
import { type PostgresServer, startPostgres } from './postgres.ts';
import { type RedisServer, startRedis } from './redis.ts';
import { type ServiceName, type ServiceProcess, startService } from './tideway.ts';

/**
 * The path of an event, each service a process of its own: relays, consumers, events, control and config, and stream for who
 * listens; on real Kafka, PostgreSQL and Redis, behind real Envoy.
 */
export interface EventsDeployment extends AsyncDisposable {
  readonly edge: Edge;
  readonly kafka: KafkaServer;
  readonly postgres: PostgresServer;
  readonly redis: RedisServer;
  readonly relays: ServiceProcess[];
  readonly consumers: ServiceProcess[];
  /** Whoever operates it, through the edge. */
  readonly api: JsonApi;
  /** What programs beside the services need to find the data: `cli/outcomes.ts`. */
  readonly env: Readonly<Record<string, string>>;
  /** Makes a project in the deployment's organization. */
  newProject(name: string): Promise<EventsProject>;
  /** Kills a process and starts it again, on the port that it had. */
  replace(name: 'relay' | 'consumers', replica: number): Promise<void>;
  stop(): Promise<void>;
}

export interface EventsProject {
  /** `/v1/organizations/…/projects/…` */
  readonly path: string;
  readonly organization: string;
  readonly organizationId: string;
  readonly id: string;
  readonly slug: string;
  readonly key: string;
}

export interface EventsDeploymentOptions {
  readonly relays?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** A process that starts needs a core for seconds: with more of them at once each takes longer than it may. */
const STARTED_AT_ONCE = 2;
const PORT_SETTINGS = { relay: 'RELAY_PORT', consumers: 'CONSUMERS_PORT' } as const;

export async function startEventsDeployment(options: EventsDeploymentOptions = {}): Promise<EventsDeployment> {
  const dir = await mkdtemp(join(tmpdir(), 'tideway-events-'));
  const processes: ServiceProcess[] = [];
  const servers: AsyncDisposable[] = [];
  let edge: Edge | undefined;
  async function stop(): Promise<void> {
    await edge?.stop();
    for (const each of processes) each.kill('SIGKILL');
    await Promise.all(processes.map(({ exited }) => exited));
    await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
    await rm(dir, { recursive: true, force: true });
  }
  const kept = async <T extends AsyncDisposable>(starting: Promise<T>): Promise<T> => {
    const server = await starting;
    servers.push(server);
    return server;
  };
  try {
    const { apiToken } = await loadOrCreateDevelopmentKeys(dir);
    const [kafka, postgres, redis] = await allStarted([
      kept(startKafka()),
      // As it is in production: what was committed is there after a kill.
      kept(startPostgres({ durable: true })),
      kept(startRedis({ args: ['--appendonly', 'yes'] })),
    ]);
    const configPort = await freePort();
    const env = {
      TIDEWAY_DATA_DIR: dir,
      DATABASE_URL: await postgres.createDatabase(),
      KAFKA_BROKERS: kafka.brokers,
      KAFKA_PARTITIONS: '2',
      ...options.env,
    };
    const all = {
      ...env,
      REDIS_URL: redis.url,
      CONFIG_URL: `http://127.0.0.1:${configPort}`,
      RELAY_THREADS: '1',
      // A relay that a test ends has time for what it has answered.
      DRAIN_TIMEOUT_SEC: '20',
    };
    const start = async (name: ServiceName, more: Readonly<Record<string, string>> = {}) => {
      const service = await startService(name, { ...all, ...more }, dir);
      processes.push(service);
      return service;
    };
    const [control, config, events, stream, consumer] = await allStarted([
      start('control'),
      start('config', { CONFIG_PORT: String(configPort) }),
      start('events'),
      start('stream'),
      start('consumers'),
    ]);
    const consumers = [consumer];
    const relays: ServiceProcess[] = [];
    for (let left = options.relays ?? 1; left > 0; left -= STARTED_AT_ONCE) {
      const some = Array.from({ length: Math.min(left, STARTED_AT_ONCE) }, () => start('relay'));
      relays.push(...(await allStarted(some)));
    }
    const started = await startEdge({
      publish: [],
      stream: [stream.port],
      control: [control.port],
      config: [config.port],
      events: [events.port],
      relay: relays.map(({ port }) => port),
    });
    edge = started;
    const api = new JsonApi(started.url, apiToken);
    const organization = await api.fetch('POST', '/v1/organizations', { name: 'Shop', slug: 'shop' });
    const groups = { relay: relays, consumers };
    return {
      ...{ edge: started, kafka, postgres, redis, relays, consumers, api, env },
      async newProject(name) {
        const { id, slug } = await api.fetch('POST', '/v1/organizations/shop/projects', { name });
        const path = `/v1/organizations/shop/projects/${slug}`;
        const { keys } = await api.fetch('GET', `${path}/keys`);
        const key = keys[0].public_key;
        return { path, organization: 'shop', organizationId: organization.id, id, slug, key };
      },
      async replace(name, replica) {
        const { port, kill, exited } = groups[name][replica] as ServiceProcess;
        kill('SIGKILL');
        await exited;
        groups[name][replica] = await start(name, { [PORT_SETTINGS[name]]: String(port) });
      },
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
