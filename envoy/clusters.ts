import { type Json, type JsonObject, seconds, typed } from './json.ts';
import { edgeEjection, edgeHealthCheck, edgeSizes, edgeTimeouts } from './limits.ts';
import type { Endpoint, StreamAffinity } from './options.ts';
import { balancedBy } from './stream-affinity.ts';
import { wholeAnswers } from './whole-answers.ts';

/** One service and its processes, spoken to in h2c. */
export function cluster(name: string, endpoints: readonly Endpoint[], protocol = h2): JsonObject {
  return clusterOf(name, endpoints, { protocol, filters: [wholeAnswers], healthCheck: { grpc_health_check: {} } });
}

/** The stream service, whose listeners may be kept together. */
export function streamCluster(name: string, endpoints: readonly Endpoint[], affinity: StreamAffinity): JsonObject {
  return {
    ...cluster(name, endpoints, h2ForListeners),
    ...balancedBy(affinity, commonLb),
    outlier_detection: { ...outlierDetection, ...ofListeners },
  };
}

/** The relay's HTTP side, spoken to in HTTP/1.1: of many short requests each costs Node about half of what it does in h2. */
export function intakeCluster(name: string, endpoints: readonly Endpoint[]): JsonObject {
  const relays = clusterOf(name, endpoints, {
    protocol: h1,
    filters: [],
    healthCheck: { http_health_check: { path: '/api/relay/healthcheck/ready/' } },
  });
  // Each relay bounds by itself how many of them one caller has: with one bound for all, a few relays' shares were all of it.
  const [all] = relays.circuit_breakers.thresholds;
  return {
    ...relays,
    circuit_breakers: {
      thresholds: [{ ...all, max_connections: edgeSizes.downstreamConnections }],
      per_host_thresholds: [{ max_connections: edgeSizes.upstreamConnections }],
    },
  };
}

interface Manner {
  readonly protocol: JsonObject;
  readonly filters: readonly JsonObject[];
  readonly healthCheck: JsonObject;
}

function clusterOf(name: string, endpoints: readonly Endpoint[], manner: Manner) {
  const { protocol, filters, healthCheck } = manner;
  return {
    name,
    ...discovery(endpoints),
    connect_timeout: seconds(edgeTimeouts.connectSec),
    lb_policy: 'LEAST_REQUEST',
    common_lb_config: commonLb,
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: endpoints.map(lbEndpoint) }],
    },
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': typed(
        'envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
        {
          http_filters: [...filters, upstreamCodec],
          common_http_protocol_options: { idle_timeout: seconds(edgeTimeouts.upstreamIdleSec) },
          explicit_http_config: protocol,
        },
      ),
    },
    circuit_breakers: {
      thresholds: [
        {
          max_connections: edgeSizes.upstreamConnections,
          max_pending_requests: edgeSizes.upstreamStreams,
          max_requests: edgeSizes.upstreamStreams,
          // When one of two replicas dies, half of what is under way is sent again at the same moment.
          retry_budget: { budget_percent: { value: 50 }, min_retry_concurrency: 100 },
        },
      ],
    },
    health_checks: [
      {
        ...healthCheck,
        timeout: seconds(edgeHealthCheck.timeoutSec),
        interval: seconds(edgeHealthCheck.intervalSec),
        // Without these an unused service is looked at once a minute, and found late.
        no_traffic_interval: seconds(edgeHealthCheck.intervalSec),
        no_traffic_healthy_interval: seconds(edgeHealthCheck.intervalSec),
        unhealthy_threshold: edgeHealthCheck.failuresUntilOut,
        healthy_threshold: 1,
      },
    ],
    outlier_detection: outlierDetection,
  };
}

// Only what Envoy itself met (refused, reset, timed out) counts. What a service answers is its own business: with
// the broker away every replica answers errors, and none of them should be taken out for it.
const outlierDetection: JsonObject = {
  split_external_local_origin_errors: true,
  consecutive_local_origin_failure: edgeEjection.failuresUntilOut,
  interval: '1s',
  base_ejection_time: '5s',
  max_ejection_time: '15s',
  max_ejection_percent: 50,
  enforcing_consecutive_5xx: 0,
  enforcing_consecutive_gateway_failure: 0,
  enforcing_success_rate: 0,
  enforcing_local_origin_success_rate: 0,
};

// Health checks have found a process that died before this is over.
const ofListeners: JsonObject = {
  consecutive_local_origin_failure: edgeEjection.streamFailuresUntilOut,
  base_ejection_time: '3s',
  max_ejection_time: '3s',
};

// Zero: a service that drains or is down gets nothing, also if it is the only one. The edge then says so at once.
// Changes of health count at once. Merged over a second, Envoy's default, a replica that died would be tried, and one
// that came back not be, for that long: with the second of two down in that second, nobody would be asked.
const commonLb: JsonObject = { healthy_panic_threshold: { value: 0 }, update_merge_window: '0s' };

const upstreamCodec: JsonObject = {
  name: 'envoy.filters.http.upstream_codec',
  typed_config: typed('envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec'),
};

export const pings: JsonObject = {
  interval: seconds(edgeTimeouts.pingIntervalSec),
  timeout: seconds(edgeTimeouts.pingTimeoutSec),
};

const h1: JsonObject = { http_protocol_options: {} };
const h2 = h2With(edgeSizes.upstreamStreamsPerConnection, edgeSizes.upstreamConnectionWindowBytes);
const h2ForListeners = h2With(edgeSizes.listenersPerConnection, edgeSizes.listenersConnectionWindowBytes);

function h2With(streams: number, connectionWindowBytes: number): JsonObject {
  return {
    http2_protocol_options: {
      max_concurrent_streams: streams,
      initial_stream_window_size: edgeSizes.streamWindowBytes,
      initial_connection_window_size: connectionWindowBytes,
      connection_keepalive: pings,
    },
  };
}

function discovery(endpoints: readonly Endpoint[]): JsonObject {
  if (endpoints.every(({ host }) => isAddress(host))) return { type: 'STATIC' };
  // Containers have names. Those are looked up again and again, and every address found is a replica.
  return {
    cluster_type: {
      name: 'envoy.clusters.dns',
      typed_config: typed('envoy.extensions.clusters.dns.v3.DnsCluster', {
        dns_refresh_rate: '2s',
        dns_lookup_family: 'V4_PREFERRED',
      }),
    },
  };
}

function lbEndpoint({ host, port }: Endpoint): Json {
  return { endpoint: { address: { socket_address: { address: host, port_value: port } } } };
}

function isAddress(host: string): boolean {
  return /^[0-9.]+$/.test(host) || host.includes(':');
}
