import { describe, expect, test } from 'vitest';
import { DEFAULT_WINDOW_BYTES } from '#lib/server/h2-lanes/frames.ts';
import { SESSION_SHARE_BYTES } from '#lib/server/h2-lanes/shared-window.ts';
import { LANES_FROM_WINDOW_BYTES } from '#lib/server/h2-lanes/wants-lanes.ts';
import * as server from '#lib/server/limits.ts';
import { DRAIN_NOTICE_MS } from '#lib/server/run-service.ts';
import { INTAKE_TIMEOUT_MS } from '../services/relay/routes.ts';
import { KEEP_ALIVE_SEC } from '../services/stream/listeners.ts';
import { envoyConfig } from './config.ts';
import { descriptorSet } from './descriptors.ts';
import { drainNoticeSec, edgeSizes, edgeTimeouts } from './limits.ts';

const upstream = [{ host: '127.0.0.1', port: 9000 }];
const config = envoyConfig({
  listen: { host: '127.0.0.1', port: 8080 },
  admin: { loopbackPort: 9901 },
  upstreams: {
    publish: upstream,
    stream: upstream,
    control: upstream,
    config: upstream,
    events: upstream,
    relay: upstream,
    web: upstream,
  },
  streamAffinity: 'channel',
  reflection: true,
  ratePerAddressPerSec: 0,
  trustedHops: 0,
  accessLog: true,
  maxConnections: edgeSizes.downstreamConnections,
  maxHeapBytes: edgeSizes.heapMiB * 1_048_576,
  tcpUserTimeout: true,
  descriptorSet: descriptorSet(),
});

/** All values that stand under a key, anywhere in the configuration. */
function valuesOf(key: string, within: unknown = config): unknown[] {
  if (typeof within !== 'object' || within === null) return [];
  return Object.entries(within).flatMap(([name, value]) => [...(name === key ? [value] : []), ...valuesOf(key, value)]);
}

interface Route {
  readonly match: { readonly prefix?: string; readonly path?: string };
  readonly route: { readonly cluster: string; readonly timeout: string; readonly idle_timeout?: string };
}

function routeOf(path: string): Route['route'] {
  const routes = valuesOf('routes').flat() as Route[];
  const found = routes.find(({ match }) => match.path === path || (match.prefix && path.startsWith(match.prefix)));
  if (found === undefined) throw new Error(`no route for ${path}`);
  return found.route;
}

const secondsOf = (duration: unknown) => Number(/^([\d.]+)s$/.exec(String(duration))?.[1]);

describe('timeouts, on both sides', () => {
  test.each([
    '/events/1',
    '/tideway.stream.v1.StreamService/Subscribe',
    '/tideway.stream.v1.StreamService/SubscribeMany',
  ])('%s lasts as long as keep-alives arrive, and survives two that are lost', (path) => {
    const { timeout, idle_timeout: idle } = routeOf(path);
    expect(timeout).toBe('0s');
    expect(secondsOf(idle)).toBe(3 * KEEP_ALIVE_SEC);
  });

  test('a PublishStream lasts, with pauses', () => {
    const { timeout, idle_timeout: idle } = routeOf('/tideway.stream.v1.PublishService/PublishStream');
    expect(timeout).toBe('0s');
    expect(secondsOf(idle)).toBeGreaterThan(edgeTimeouts.streamIdleSec);
  });

  test('Envoy closes an idle connection to a service before the service does', () => {
    const [idle, ...others] = valuesOf('clusters')
      .flat()
      .flatMap((cluster) => valuesOf('idle_timeout', cluster).map(secondsOf));
    expect(new Set(others)).toEqual(new Set([idle]));
    expect(idle).toBeGreaterThan(edgeTimeouts.listenIdleSec);
    expect(idle).toBeLessThan(server.KEEP_ALIVE_TIMEOUT_MS / 1_000);
  });

  test('a draining service waits until Envoy has noticed', () => {
    expect(drainNoticeSec * 1_000).toBeLessThan(DRAIN_NOTICE_MS);
  });

  test('a slow body ends at the edge no later than at the service, and after the answer could', () => {
    expect(edgeTimeouts.unaryExchangeSec * 1_000).toBeLessThanOrEqual(server.REQUEST_TIMEOUT_MS);
    expect(edgeTimeouts.unarySec).toBeLessThan(edgeTimeouts.unaryExchangeSec);
    expect(edgeTimeouts.connectSec).toBeLessThan(edgeTimeouts.unarySec);
  });

  test('an event may take as long at the edge as the relay waits for it', () => {
    expect(edgeTimeouts.intakeExchangeSec * 1_000).toBeLessThanOrEqual(INTAKE_TIMEOUT_MS);
    expect(secondsOf(routeOf('/api/1/envelope/').idle_timeout)).toBe(edgeTimeouts.streamIdleSec);
  });
});

describe('bounds, on both sides', () => {
  test('what Envoy passes on, with its own headers, the services take', () => {
    const addedBytes = 512;
    const addedCount = 10;
    expect(edgeSizes.requestHeadersKiB * 1_024 + addedBytes).toBeLessThanOrEqual(server.MAX_HEADER_BYTES);
    expect(edgeSizes.requestHeadersCount + addedCount).toBeLessThanOrEqual(server.MAX_HEADER_COUNT);
  });

  test.each([
    [edgeSizes.upstreamStreamsPerConnection, edgeSizes.upstreamConnectionWindowBytes, 0],
    [edgeSizes.listenersPerConnection, edgeSizes.listenersConnectionWindowBytes, SESSION_SHARE_BYTES],
  ])('of %i streams on a connection, those that stall can not stop the others', (streams, windowBytes, keptBytes) => {
    expect(windowBytes - keptBytes).toBeGreaterThanOrEqual(streams * edgeSizes.streamWindowBytes);
    expect(streams).toBeLessThanOrEqual(server.H2_MAX_CONCURRENT_STREAMS);
  });

  test('connections of listeners ask for lanes, the others do not', () => {
    expect(edgeSizes.listenersConnectionWindowBytes).toBeGreaterThan(LANES_FROM_WINDOW_BYTES + DEFAULT_WINDOW_BYTES);
    expect(edgeSizes.upstreamConnectionWindowBytes).toBeLessThan(LANES_FROM_WINDOW_BYTES);
  });

  test('there is room for every listener', () => {
    expect(edgeSizes.upstreamStreams).toBeGreaterThan(20_000);
    expect(edgeSizes.upstreamStreams).toBeGreaterThanOrEqual(edgeSizes.downstreamConnections);
    expect(edgeSizes.upstreamConnections * edgeSizes.upstreamStreamsPerConnection).toBeGreaterThan(
      edgeSizes.upstreamStreams,
    );
  });
});
