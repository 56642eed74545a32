import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, listens } from './free-port.ts';
import { programEnv } from './program-env.ts';
import { watch } from './watchdog.ts';

/** A service that runs as a process of its own. */
export interface ServiceProcess {
  readonly port: number;
  readonly pid: number;
  /** All that it printed so far. */
  output(): string;
  kill(signal: NodeJS.Signals): void;
  /** Resolves with its exit code, or the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals>;
}

export type ServiceName =
  | 'monolith'
  | 'publish'
  | 'stream'
  | 'cleanup'
  | 'control'
  | 'config'
  | 'relay'
  | 'consumers'
  | 'events';

const PORT_SETTINGS: Record<ServiceName, string> = {
  monolith: 'PORT',
  publish: 'PUBLISH_PORT',
  stream: 'GATEWAY_PORT',
  cleanup: 'CLEANUP_PORT',
  control: 'CONTROL_PORT',
  config: 'CONFIG_PORT',
  relay: 'RELAY_PORT',
  consumers: 'CONSUMERS_PORT',
  events: 'EVENTS_PORT',
};
const ROOT = new URL('../../', import.meta.url);
/** A deadline for what hangs, not for what is slow: the machine may be busy. */
const START_TIMEOUT_MS = 60_000;

/**
 * Runs a service as a process of its own, as `npm start` and compose do, and waits until it answers.
 * @param folder Has keys in it: removed with the service where this process is killed, and cannot do it.
 */
export async function startService(
  name: ServiceName,
  env: Readonly<Record<string, string>> = {},
  folder?: string,
): Promise<ServiceProcess> {
  const port = Number(env[PORT_SETTINGS[name]] ?? (await freePort()));
  const child = spawn(process.execPath, [...process.execArgv.filter(isForChildren), `services/${name}/main.ts`], {
    cwd: ROOT,
    env: { ...programEnv(), [PORT_SETTINGS[name]]: String(port), TIDEWAY_HOST: '127.0.0.1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  watch(child, folder);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const exited = new Promise<number | NodeJS.Signals>((resolve) => {
    child.on('exit', (code, signal) => resolve(signal ?? code ?? -1));
  });
  const service: ServiceProcess = {
    port,
    pid: child.pid ?? -1,
    output: () => output,
    kill: (signal) => void child.kill(signal),
    exited,
  };
  const deadlineMs = performance.now() + START_TIMEOUT_MS;
  while (!(await answers(port))) {
    if (child.exitCode !== null) break;
    if (performance.now() > deadlineMs) {
      child.kill('SIGKILL');
      throw new Error(`${name} did not answer within ${START_TIMEOUT_MS} ms: ${output}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  // Also where another has its port, and answers.
  if (child.exitCode !== null) throw new Error(`${name} ended at its start: ${output}`);
  return service;
}

export interface Development {
  readonly edge_url: string;
  readonly org_id: number;
  readonly publish_token: string;
  readonly api_token: string;
  readonly operator_token: string;
  readonly organization: string;
  readonly project: string;
  readonly dsn: string;
}

/** A monolith with a data folder of its own, and what its dev.json says. */
export async function startMonolith(
  env: Readonly<Record<string, string>> = {},
): Promise<ServiceProcess & { readonly development: Development; readonly dir: string; stop(): Promise<void> }> {
  const own = env['TIDEWAY_DATA_DIR'] === undefined ? await mkdtemp(join(tmpdir(), 'tideway-')) : undefined;
  const dir = own ?? (env['TIDEWAY_DATA_DIR'] as string);
  let service: ServiceProcess | undefined;
  async function stop(): Promise<void> {
    service?.kill('SIGKILL');
    await service?.exited;
    if (own !== undefined) await rm(own, { recursive: true, force: true });
  }
  try {
    service = await startService('monolith', { DRAIN_TIMEOUT_SEC: '2', ...env, TIDEWAY_DATA_DIR: dir }, own);
    return { ...service, dir, development: JSON.parse(await readFile(join(dir, 'dev.json'), 'utf8')), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function answers(port: number): Promise<boolean> {
  // While it starts nobody listens, which costs a request much more to find than a connection.
  if (!(await listens(port))) return false;
  try {
    const response = await fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(1000) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}

// vitest runs workers with flags of its own; profiling a run is the one thing worth passing on.
function isForChildren(flag: string): boolean {
  return flag.startsWith('--cpu-prof');
}
