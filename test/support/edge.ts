import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { envoyConfig } from '../../envoy/config.ts';
import { descriptorSet } from '../../envoy/descriptors.ts';
import { edgeSizes } from '../../envoy/limits.ts';
import type { EdgeOptions } from '../../envoy/options.ts';
import { startChild } from '../../scripts/lib/child.mjs';
import { ensureEnvoy, envoyArguments } from '../../scripts/lib/envoy.mjs';
import { until } from './until.ts';

/** Ports on 127.0.0.1: several for a service are its replicas. */
export interface EdgeUpstreams {
  readonly publish: readonly number[];
  readonly stream: readonly number[];
  /** Without any, nobody answers for it. */
  readonly control?: readonly number[];
  readonly config?: readonly number[];
  readonly events?: readonly number[];
  readonly relay?: readonly number[];
  readonly web?: readonly number[];
}

/** What of the product's own is to be otherwise. */
export type EdgeChanges = Partial<Omit<EdgeOptions, 'upstreams' | 'admin'>>;

export interface Edge {
  readonly url: string;
  readonly port: number;
  /** Everything that Envoy has written to its access log, if that was asked for, and its warnings. */
  output(): string;
  /** Asks Envoy's admin interface, such as `/stats?filter=retry`. */
  admin(path: string): Promise<string>;
  stop(): Promise<void>;
}

/** A deadline for what hangs, not for what is slow: the machine may be busy. */
const READY_DEADLINE_MS = 60_000;

/**
 * Real Envoy on a free port, with the product's configuration, in front of the given processes. When it resolves, Envoy
 * sends requests to all of them: on a busy machine one may be too late for the first look at its health, which alone takes
 * it out for a second. `checked`: it has looked at each once, whatever it found.
 */
export async function startEdge(
  upstreams: EdgeUpstreams,
  changes: EdgeChanges = {},
  readiness: 'healthy' | 'checked' = 'healthy',
): Promise<Edge> {
  const envoy = await ensureEnvoy();
  const folder = mkdtempSync(join(tmpdir(), 'tideway-edge-'));
  const socketPath = join(folder, 'admin.sock');
  const config = envoyConfig({
    listen: { host: '127.0.0.1', port: 0 },
    reflection: true,
    ratePerAddressPerSec: 0,
    trustedHops: 0,
    streamAffinity: 'channel',
    accessLog: false,
    maxConnections: edgeSizes.downstreamConnections,
    maxHeapBytes: edgeSizes.heapMiB * 1_048_576,
    tcpUserTimeout: process.platform === 'linux',
    descriptorSet: descriptorSet(),
    ...changes,
    admin: { socketPath },
    upstreams: {
      publish: endpoints(upstreams.publish),
      stream: endpoints(upstreams.stream),
      control: endpoints(upstreams.control ?? []),
      config: endpoints(upstreams.config ?? []),
      events: endpoints(upstreams.events ?? []),
      relay: endpoints(upstreams.relay ?? []),
      ...(upstreams.web === undefined ? {} : { web: endpoints(upstreams.web) }),
    },
  });
  const file = join(folder, 'envoy.json');
  writeFileSync(file, JSON.stringify(config));

  const chunks: Buffer[] = [];
  const child = startChild('Envoy', envoy, envoyArguments(file), {
    cwd: folder,
    env: process.env,
    folder,
    onOutput: (chunk) => void chunks.push(chunk),
  });
  const output = () => Buffer.concat(chunks).toString();
  const stop = async () => {
    await child.stop(5_000);
    rmSync(folder, { recursive: true, force: true });
  };
  const ended = child.ended.then(({ how }) => {
    throw new Error(`Envoy ${how}\n${output()}`);
  });
  try {
    const port = await Promise.race([listeningPort(socketPath), ended]);
    if (readiness === 'healthy') await Promise.race([allHealthy(socketPath), ended]);
    return { url: `http://127.0.0.1:${port}`, port, output, admin: (path) => askAdmin(socketPath, path), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function endpoints(ports: readonly number[]) {
  return ports.map((port) => ({ host: '127.0.0.1', port }));
}

/** The listener's port, once it takes connections. */
async function listeningPort(socketPath: string): Promise<number> {
  const isLive = async () => (await askAdmin(socketPath, '/ready')).trim() === 'LIVE';
  await until('Envoy is ready', isLive, READY_DEADLINE_MS);
  const { listener_statuses: statuses } = JSON.parse(await askAdmin(socketPath, '/listeners?format=json'));
  return statuses[0].local_address.socket_address.port_value;
}

async function allHealthy(socketPath: string): Promise<void> {
  const areHealthy = async () => {
    const lines = (await askAdmin(socketPath, '/clusters')).split('\n');
    const missing = lines.filter((line) => line.includes('::health_flags::') && !line.endsWith('::healthy'));
    if (missing.length > 0) throw new Error(missing.join(', '));
    return true;
  };
  await until('Envoy sends requests to all that is behind it', areHealthy, READY_DEADLINE_MS);
}

function askAdmin(socketPath: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const asking = request({ socketPath, path, method: 'GET', timeout: 2_000 }, (response) => {
      response.setEncoding('utf8');
      let text = '';
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve(text));
      response.on('error', reject);
    });
    asking.on('timeout', () => asking.destroy(new Error(`${path} took too long`)));
    asking.on('error', reject);
    asking.end();
  });
}
