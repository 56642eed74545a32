import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { kafkaFolder } from '../../scripts/lib/kafka.mjs';
import { freePort, listens } from './free-port.ts';
import { until } from './until.ts';
import { watch } from './watchdog.ts';

/**
 * A real Kafka for tests: one node that is broker and controller, on free ports of 127.0.0.1, in a folder of its own that
 * goes with it. What a test does not stop ends with its process.
 */
export interface KafkaServer extends AsyncDisposable {
  /** For clients: `host:port`. */
  readonly brokers: string;
  readonly port: number;
  /** Ends it at once. */
  kill(): Promise<void>;
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
}

const HOST = '127.0.0.1';
const START_TIMEOUT_MS = 60_000;
const NODE_ID = 1;
const CLUSTER_ID = 'tidewaytideway_tideway';
const MEMORY = '-Xmx384m';

export async function startKafka(options: KafkaServerOptions = {}): Promise<KafkaServer> {
  const folder = await mkdtemp(join(tmpdir(), 'tideway-kafka-'));
  const port = await freePort();
  const properties = join(folder, 'server.properties');
  await writeFile(properties, await serverProperties(folder, port, await freePort(), options));
  const format = ['kafka.tools.StorageTool', 'format', '--cluster-id', CLUSTER_ID, '--config', properties];
  let child: ChildProcess | undefined;
  const end = async () => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  };
  const stop = async () => {
    await end();
    await rm(folder, { recursive: true, force: true });
  };
  const start = async () => {
    const server = spawnJava(folder, ['kafka.Kafka', properties]);
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
    const formatting = spawnJava(folder, format);
    const [code] = (await once(formatting, 'exit')) as [number | null];
    if (code !== 0) throw new Error(`Kafka's storage can't be formatted: ${await lastWords(folder)}`);
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    brokers: `${HOST}:${port}`,
    port,
    kill: end,
    restart: async () => {
      await end();
      await start();
    },
    pause: () => void child?.kill('SIGSTOP'),
    resume: () => void child?.kill('SIGCONT'),
    stop,
    [Symbol.asyncDispose]: stop,
  };
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
    'log.dirs': join(folder, 'data'),
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

/** A JVM that ends with this process, and its output in the folder. */
function spawnJava(folder: string, args: readonly string[]): ChildProcess {
  const jvm = [MEMORY, '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-cp', join(kafkaFolder, '*')];
  const child = spawn('java', [...jvm, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const log = createWriteStream(logFile(folder), { flags: 'a' });
  log.on('error', () => undefined);
  child.stdout.pipe(log, { end: false });
  child.stderr.pipe(log, { end: false });
  child.once('error', (error) => log.write(`java: ${error.message}`));
  watch(child, folder);
  child.once('close', () => log.end());
  return child;
}

function logFile(folder: string): string {
  return join(folder, 'output.log');
}

async function lastWords(folder: string): Promise<string> {
  const words = await readFile(logFile(folder), 'utf8').catch(() => '');
  return words.slice(-2000) || 'it said nothing';
}
