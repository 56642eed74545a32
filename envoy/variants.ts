import { trustedHops } from '#lib/server/caller-address.ts';
import { ConfigError, type Env } from '#lib/server/env.ts';
import { descriptorSet } from './descriptors.ts';
import { edgeSizes } from './limits.ts';
import type { EdgeOptions, StreamAffinity } from './options.ts';

/** Where the services of docker-compose.yml answer, by their names there. */
export const composePorts = {
  edge: 8080,
  admin: 9901,
  publish: 9001,
  stream: 9002,
  control: 9004,
  config: 9005,
  relay: 9006,
  events: 9008,
} as const;

/** In front of the monolith on this machine. */
export function localEdge(env: Env, adminSocketPath: string): EdgeOptions {
  const monolith = [{ host: '127.0.0.1', port: env.port('PORT', 9000) }];
  const upstreams = {
    publish: monolith,
    stream: monolith,
    control: monolith,
    config: monolith,
    events: monolith,
    relay: monolith,
  };
  return {
    ...settings(env),
    // What runs on a developer's machine is nobody else's business.
    listen: { host: env.text('EDGE_HOST') ?? '127.0.0.1', port: env.port('EDGE_PORT', 8080) },
    admin: { socketPath: adminSocketPath },
    upstreams: env.isProduction ? upstreams : { ...upstreams, web: monolith },
    tcpUserTimeout: process.platform === 'linux',
  };
}

/** In front of the containers of docker-compose.yml, each service with any number of replicas. */
export function composeEdge(env: Env): EdgeOptions {
  return {
    ...settings(env),
    listen: { host: '0.0.0.0', port: composePorts.edge },
    admin: { loopbackPort: composePorts.admin },
    upstreams: {
      publish: [{ host: 'publish', port: composePorts.publish }],
      stream: [{ host: 'stream', port: composePorts.stream }],
      control: [{ host: 'control', port: composePorts.control }],
      config: [{ host: 'config', port: composePorts.config }],
      events: [{ host: 'events', port: composePorts.events }],
      relay: [{ host: 'relay', port: composePorts.relay }],
    },
    tcpUserTimeout: true,
  };
}

function settings(env: Env) {
  return {
    reflection: !env.isProduction,
    ratePerAddressPerSec: env.integer('EDGE_RATE_PER_SEC', 0, 0, 1_000_000),
    trustedHops: trustedHops(env),
    streamAffinity: affinity(env),
    accessLog: flag(env, 'EDGE_ACCESS_LOG', env.isProduction),
    maxConnections: env.integer('EDGE_MAX_CONNECTIONS', edgeSizes.downstreamConnections, 1, 1_000_000),
    maxHeapBytes: env.integer('EDGE_MAX_HEAP_MB', edgeSizes.heapMiB, 64, 1_000_000) * 1_048_576,
    descriptorSet: descriptorSet(),
  };
}

function affinity(env: Env): StreamAffinity {
  const text = env.text('EDGE_STREAM_AFFINITY') ?? 'channel';
  if (text !== 'none' && text !== 'channel') throw new ConfigError('EDGE_STREAM_AFFINITY must be none or channel');
  return text;
}

function flag(env: Env, name: string, fallback: boolean): boolean {
  const text = env.text(name);
  if (text === undefined) return fallback;
  if (text !== '0' && text !== '1') throw new ConfigError(`${name} must be 0 or 1`);
  return text === '1';
}
