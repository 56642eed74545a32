import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, listens } from './free-port.ts';
import { lastWords, preparedData, spawnJava } from './kafka-java.ts';
import { until } from './until.ts';

/**
 * A real Kafka for tests: one node that is broker and controller, on free ports of 127.0.0.1, in a folder of its own that
 * goes with it. What a test does not stop ends with its process.
 */
export interface KafkaServer extends AsyncDisposable {
  /** For clients: `host:port`. */
  readonly brokers: string;
  readonly port: number;
  /** Where its partitions' files are. */
  readonly dataDir: string;
  /** Ends it at once. */
  kill(): Promise<void>;
  /** Has it end by itself. */
  stopInOrder(): Promise<void>;
  /** Starts it again on the same ports, with its data. */
  restart(): Promise<void>;
  /** Stops it from answering, with its connections open. */
  pause(): void;
  resume(): void;
  stop(): Promise<void>;
}

export interface KafkaServerOptions {
  /** Makes clients come by TLS and with this name and password. */
  readonly secured?: {
    readonly certFile: string;
    readonly keyFile: string;
    readonly username: string;
    readonly password: string;
  };
  /** The port that it tells its clients, where another program stands before it. */
  readonly advertisedPort?: number;
  /** More of server.properties. */
  readonly properties?: Readonly<Record<string, string | number>>;
  /** More arguments of its JVM. */
  readonly java?: readonly string[];
  /** Where a copy of its storage goes as it is before its first start. */
  readonly copyFormattedTo?: string;
}

const HOST = '127.0.0.1';
const START_TIMEOUT_MS = 60_000;
const NODE_ID = 1;
const CLUSTER_ID = 'tidewaytideway_tideway';
const DATA = 'data';

export async function startKafka(options: KafkaServerOptions = {}): Promise<KafkaServer> {
  const folder = await mkdtemp(join(tmpdir(), 'tideway-kafka-'));
  const port = await freePort();
  const properties = join(folder, 'server.properties');
  await writeFile(properties, await serverProperties(folder, port, await freePort(), options));
  let child: ChildProcess | undefined;
  const end = async (signal: NodeJS.Signals) => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  };
  const stop = async () => {
    await end('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  };
  const start = async () => {
    const server = spawnJava(folder, [...(options.java ?? []), 'kafka.Kafka', properties]);
    child = server;
    await until(
      'Kafka listens',
      async () => {
        if (server.exitCode !== null) throw new Error(await lastWords(folder));
        return listens(port);
      },
      START_TIMEOUT_MS,
    );
  };
  try {
    await format(folder, properties);
    if (options.copyFormattedTo !== undefined)
      await cp(join(folder, DATA), options.copyFormattedTo, { recursive: true });
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    brokers: `${HOST}:${port}`,
    port,
    dataDir: join(folder, DATA),
    kill: () => end('SIGKILL'),
    stopInOrder: () => end('SIGTERM'),
    restart: async () => {
      await end('SIGKILL');
      await start();
    },
    pause: () => void child?.kill('SIGSTOP'),
    resume: () => void child?.kill('SIGCONT'),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

async function format(folder: string, properties: string): Promise<void> {
  const prepared = preparedData();
  if (prepared !== undefined) return cp(prepared, join(folder, DATA), { recursive: true });
  const command = ['kafka.tools.StorageTool', 'format', '--cluster-id', CLUSTER_ID, '--config', properties];
  const [code] = (await once(spawnJava(folder, command), 'exit')) as [number | null];
  if (code !== 0) throw new Error(`Kafka's storage can't be formatted: ${await lastWords(folder)}`);
}

async function serverProperties(
  folder: string,
  port: number,
  controllerPort: number,
  { secured, advertisedPort, properties = {} }: KafkaServerOptions,
): Promise<string> {
  const all: Record<string, string | number> = {
    'process.roles': 'broker,controller',
    'node.id': NODE_ID,
    'controller.quorum.voters': `${NODE_ID}@${HOST}:${controllerPort}`,
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'INTERNAL',
    'listener.security.protocol.map': `CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL`,
    'log.dirs': join(folder, DATA),
    // What a production broker would not do: one copy of everything, no waiting for more members, looking often.
    'offsets.topic.replication.factor': 1,
    'offsets.topic.num.partitions': 1,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'group.initial.rebalance.delay.ms': 0,
    'auto.create.topics.enable': 'false',
    'log.retention.check.interval.ms': 500,
    'log.initial.task.delay.ms': 500,
    // After a kill it is taken back as soon as it was missed.
    'broker.session.timeout.ms': 1500,
    'broker.heartbeat.interval.ms': 300,
    ...(await listenerProperties(folder, { port, advertisedPort, controllerPort }, secured)),
    ...properties,
  };
  return Object.entries(all)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');
}

async function listenerProperties(
  folder: string,
  ports: { readonly port: number; readonly advertisedPort: number | undefined; readonly controllerPort: number },
  secured: KafkaServerOptions['secured'],
): Promise<Record<string, string>> {
  const outside = `${secured === undefined ? 'PLAINTEXT' : 'SASL_SSL'}://${HOST}`;
  const inside = `INTERNAL://${HOST}:${await freePort()}`;
  const listeners = {
    listeners: `${outside}:${ports.port},${inside},CONTROLLER://${HOST}:${ports.controllerPort}`,
    'advertised.listeners': `${outside}:${ports.advertisedPort ?? ports.port},${inside}`,
  };
  if (secured === undefined) return listeners;
  const keystore = join(folder, 'keystore.pem');
  await writeFile(keystore, `${await readFile(secured.keyFile, 'utf8')}${await readFile(secured.certFile, 'utf8')}`);
  const { username, password } = secured;
  return {
    ...listeners,
    'sasl.enabled.mechanisms': 'PLAIN',
    'listener.name.sasl_ssl.plain.sasl.jaas.config': `org.apache.kafka.common.security.plain.PlainLoginModule required user_${username}="${password}";`,
    'ssl.keystore.type': 'PEM',
    'ssl.keystore.location': keystore,
  };
}
