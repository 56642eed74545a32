import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Redis } from 'ioredis';
import { openRedisClock, type StepClock } from './chaos-clock.ts';
import { freePort } from './free-port.ts';
import { until } from './until.ts';
import { watch } from './watchdog.ts';

/**
 * Real Redis servers for tests, on free ports of 127.0.0.1, each in a folder of its own that goes with it. What a test
 * does not stop ends with its process.
 */
export interface RedisServer extends AsyncDisposable {
  readonly port: number;
  readonly password: string | undefined;
  /** With the password, where there is one. */
  readonly url: string;
  /** A connection of the test's own, which comes back after a restart. */
  readonly admin: Redis;
  /** Asked for by `ownClock`, and there where libfaketime is. */
  readonly clock: StepClock | undefined;
  /** Ends it at once, without saving anything. */
  kill(): Promise<void>;
  /** Starts it again on the same port, with what it had saved. */
  restart(): Promise<void>;
  /** Stops it from answering, with its connections open. */
  pause(): void;
  resume(): void;
  stop(): Promise<void>;
}

export interface RedisServerOptions {
  readonly password?: string;
  readonly tls?: RedisTlsFiles;
  /** More arguments, as on the command line. */
  readonly args?: readonly string[];
  /** Starts a Sentinel with this configuration. */
  readonly sentinelConfig?: readonly string[];
  /** Where it keeps its data, which is the caller's then; by default in a folder of its own. */
  readonly dir?: string;
  /** Gives it a clock that can be set. */
  readonly ownClock?: boolean;
}

export interface RedisTlsFiles extends AsyncDisposable {
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

const START_TIMEOUT_MS = 30_000;
const ANSWER_MS = 1_000;
const HOST = '127.0.0.1';

export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const folder = await mkdtemp(join(tmpdir(), 'tideway-redis-'));
  const port = await freePort();
  const clock = options.ownClock ? await openRedisClock() : undefined;
  const env = { ...process.env, ...clock?.env };
  const args = await serverArguments(port, folder, options);
  let child = await spawnServer(args, env, folder);
  const admin = new Redis({
    host: HOST,
    port,
    maxRetriesPerRequest: null,
    retryStrategy: () => 20,
    ...(options.password === undefined ? {} : { password: options.password }),
    ...(options.tls ? { tls: { rejectUnauthorized: false } } : {}),
  });
  admin.on('error', () => undefined);

  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGCONT');
    child.kill(signal);
    await exited;
  };
  const stop = async () => {
    admin.disconnect();
    await end('SIGKILL');
    clock?.stop();
    await rm(folder, { recursive: true, force: true });
  };
  const ready = async () => {
    const starting = child;
    // A server that has ended is asked for ever.
    const answer = () => Promise.race([admin.ping(), delay(ANSWER_MS, 'none', { ref: false })]);
    await until(
      'Redis answers',
      async () => starting.exitCode !== null || (await answer()) === 'PONG',
      START_TIMEOUT_MS,
    );
    if (starting.exitCode !== null) throw new Error(`Redis ended at its start:\n${lastWords(folder)}`);
  };
  try {
    await ready();
  } catch (error) {
    await stop();
    throw error;
  }
  const scheme = options.tls ? 'rediss' : 'redis';
  const secret = options.password === undefined ? '' : `:${encodeURIComponent(options.password)}@`;
  return {
    port,
    password: options.password,
    url: `${scheme}://${secret}${HOST}:${port}`,
    admin,
    clock,
    kill: () => end('SIGKILL'),
    restart: async () => {
      await end('SIGKILL');
      child = await spawnServer(args, env, folder);
      await ready();
    },
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

function lastWords(folder: string): string {
  try {
    return readFileSync(join(folder, 'redis.log'), 'utf8').split('\n').slice(-6).join('\n');
  } catch {
    return '';
  }
}

/** A certificate for 127.0.0.1 that is its own authority. */
export async function makeTlsFiles(): Promise<RedisTlsFiles> {
  const folder = await mkdtemp(join(tmpdir(), 'tideway-tls-'));
  const certFile = join(folder, 'cert.pem');
  const keyFile = join(folder, 'key.pem');
  const subject = ['-subj', '/CN=tideway-test', '-addext', `subjectAltName=IP:${HOST}`];
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  await promisify(execFile)('openssl', ['req', ...kind, '-keyout', keyFile, '-out', certFile, ...subject]);
  return {
    caFile: certFile,
    certFile,
    keyFile,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

async function serverArguments(port: number, folder: string, options: RedisServerOptions): Promise<string[]> {
  const { password, tls, args = [], sentinelConfig } = options;
  const config = join(folder, 'redis.conf');
  // Sentinel rewrites its configuration, so it needs a file; the others get an empty one.
  await writeFile(config, (sentinelConfig ?? []).map((line) => `${line}\n`).join(''));
  return [
    config,
    ...(sentinelConfig ? ['--sentinel'] : ['--save', '', '--appendonly', 'no']),
    ...['--bind', HOST, '--dir', options.dir ?? folder, '--logfile', join(folder, 'redis.log')],
    ...(tls ? ['--port', '0', '--tls-port', `${port}`, '--tls-auth-clients', 'no'] : ['--port', `${port}`]),
    ...(tls ? ['--tls-cert-file', tls.certFile, '--tls-key-file', tls.keyFile, '--tls-ca-cert-file', tls.caFile] : []),
    ...(password === undefined ? [] : ['--requirepass', password, '--masterauth', password]),
    ...args,
  ];
}

async function spawnServer(args: readonly string[], env: NodeJS.ProcessEnv, folder: string): Promise<ChildProcess> {
  const child = spawn('redis-server', args, { env, stdio: 'ignore' });
  try {
    await once(child, 'spawn');
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw missing ? new Error('redis-server is missing: apt-get install redis-server') : error;
  }
  watch(child, folder);
  return child;
}

/** Waits until a replica has everything that its master has now. */
export async function replicated(master: RedisServer, replica: RedisServer): Promise<void> {
  const offset = async (server: RedisServer, field: string) =>
    Number(new RegExp(`${field}:(\\d+)`).exec(await server.admin.info('replication'))?.[1]);
  const wanted = await offset(master, 'master_repl_offset');
  await until('the replica has it all', async () => (await offset(replica, 'slave_repl_offset')) >= wanted);
}
