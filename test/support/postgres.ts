import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { freePort } from './free-port.ts';
import { childrenOf } from './processes.ts';
import { until } from './until.ts';
import { watch } from './watchdog.ts';

/**
 * A real PostgreSQL for tests, on a free port of 127.0.0.1, in a folder of its own that goes with it. What a test forgets
 * to stop ends with the process.
 */
export interface PostgresServer extends AsyncDisposable {
  readonly port: number;
  /** Makes a database and answers its URL. */
  createDatabase(): Promise<string>;
  /** Ends it at once, as a crash would; {@link PostgresServer.restart} recovers. */
  kill(): Promise<void>;
  /** Starts it again on the same port. */
  restart(): Promise<void>;
  /** Stops it and all its connections from answering. */
  pause(): void;
  resume(): void;
  /** Runs one of PostgreSQL's programs (pg_dump, …) and answers what it printed. */
  run(program: string, ...args: string[]): Promise<string>;
  stop(): Promise<void>;
}

export interface PostgresOptions {
  /** Waits for the disk as in production: slower. */
  readonly durable?: boolean;
  /** More settings, as in `max_connections=20`. */
  readonly settings?: readonly string[];
}

const START_TIMEOUT_MS = 60_000;
const HOST = '127.0.0.1';
const ADMIN = 'tideway';
const DEBIAN_ROOT = '/usr/lib/postgresql';

export async function startPostgres({ durable = false, settings = [] }: PostgresOptions = {}): Promise<PostgresServer> {
  const folder = await mkdtemp(join(tmpdir(), 'tideway-pg-'));
  const owner = otherUser();
  if (owner) await chown(folder, owner.uid, owner.gid);
  const data = join(folder, 'data');
  const port = await freePort();
  const run = async (program: string, ...args: string[]) => {
    const { stdout } = await promisify(execFile)(programPath(program), args, { ...owner, cwd: folder });
    return stdout;
  };
  await run(
    'initdb',
    '--pgdata',
    data,
    '--username',
    ADMIN,
    '--auth=trust',
    '--encoding=UTF8',
    '--no-locale',
    '--no-sync',
  );

  const wanted = [`port=${port}`, `listen_addresses=${HOST}`, `unix_socket_directories=${folder}`, ...settings];
  if (!durable) wanted.push('fsync=off', 'full_page_writes=off');
  const args = ['-D', data, ...wanted.flatMap((setting) => ['-c', setting])];
  const urlOf = (database: string) => `postgres://${ADMIN}@${HOST}:${port}/${database}`;
  const start = async () => {
    const child = spawn(programPath('postgres'), args, { stdio: 'ignore', cwd: folder, ...owner });
    await once(child, 'spawn');
    // Takes its connections' processes with it, which SIGKILL would leave for a moment.
    watch(child, folder, 'QUIT');
    return child;
  };

  let child = await start();
  const answers = async () => {
    // After a crash the shared memory of the one before may still be in use for a moment.
    if (child.exitCode !== null) child = await start();
    await query(urlOf('postgres'), 'select 1');
    return true;
  };
  const resume = () => signalAll(child, 'SIGCONT');
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    resume();
    child.kill(signal);
    await exited;
  };
  const stop = async () => {
    await end('SIGQUIT');
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await until('PostgreSQL answers', answers, START_TIMEOUT_MS);
  } catch (error) {
    await stop();
    throw error;
  }
  let databases = 0;
  return {
    port,
    createDatabase: async () => {
      const name = `test_${++databases}`;
      await query(urlOf('postgres'), `create database ${name}`);
      return urlOf(name);
    },
    kill: () => end('SIGKILL'),
    restart: async () => {
      await end('SIGQUIT');
      child = await start();
      await until('PostgreSQL answers again', answers, START_TIMEOUT_MS);
    },
    pause: () => signalAll(child, 'SIGSTOP'),
    resume,
    run,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Asks once, on a connection of its own. */
export async function query(
  url: string,
  sql: string,
  values: readonly unknown[] = [],
  timeoutMs = 10_000,
): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000, query_timeout: timeoutMs });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return (await client.query(sql, [...values])).rows;
  } finally {
    await client.end();
  }
}

/** The server and the processes of its connections, which would go on without it. */
function signalAll({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  for (const each of [pid, ...childrenOf(pid).map((child) => child.pid)]) {
    try {
      process.kill(each, signal);
    } catch {
      // A connection that has ended meanwhile.
    }
  }
}

/** PostgreSQL refuses to run as root. Undefined: we aren't. */
function otherUser(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

function programPath(program: string): string {
  const debian = existsSync(DEBIAN_ROOT)
    ? readdirSync(DEBIAN_ROOT)
        .sort((a, b) => Number(b) - Number(a))
        .map((version) => join(DEBIAN_ROOT, version, 'bin'))
    : [];
  for (const folder of [...(process.env['PATH'] ?? '').split(delimiter), ...debian]) {
    if (folder !== '' && existsSync(join(folder, program))) return join(folder, program);
  }
  throw new Error(`${program} is missing: apt-get install postgresql`);
}
