import { accessLog } from './access-log.ts';
import { cluster, intakeCluster, pings, streamCluster } from './clusters.ts';
import { httpFilters } from './http-filters.ts';
import { type JsonObject, seconds, typed } from './json.ts';
import { edgeSizes, edgeTimeouts } from './limits.ts';
import { localReplies } from './local-replies.ts';
import type { EdgeOptions } from './options.ts';
import { overloadManager } from './overload.ts';
import { virtualHost } from './routes.ts';

/** The whole configuration of Envoy: the one source for a developer's machine, containers and tests. */
export function envoyConfig(options: EdgeOptions): JsonObject {
  const { publish, stream, control, config, events, relay, web } = options.upstreams;
  return {
    admin: admin(options.admin),
    static_resources: {
      listeners: [listener(options)],
      clusters: [
        cluster('publish', publish),
        streamCluster('stream', stream, options.streamAffinity),
        cluster('control', control),
        cluster('config', config),
        cluster('events', events),
        cluster('relay', relay),
        intakeCluster('intake', relay),
        ...(web === undefined ? [] : [cluster('web', web)]),
      ],
    },
    overload_manager: overloadManager(options),
  };
}

function admin(where: EdgeOptions['admin']): JsonObject {
  const address =
    'socketPath' in where
      ? // 0600: whoever can open it can stop the edge.
        { pipe: { path: where.socketPath, mode: 0o600 } }
      : { socket_address: { address: '127.0.0.1', port_value: where.loopbackPort } };
  return { address, ignore_global_conn_limit: true };
}

function listener(options: EdgeOptions): JsonObject {
  return {
    name: 'edge',
    address: { socket_address: { address: options.listen.host, port_value: options.listen.port } },
    tcp_backlog_size: 4_096,
    per_connection_buffer_limit_bytes: edgeSizes.connectionBufferBytes,
    ...(options.tcpUserTimeout ? { socket_options: [userTimeout] } : {}),
    filter_chains: [
      {
        filters: [
          {
            name: 'envoy.filters.network.http_connection_manager',
            typed_config: connectionManager(options),
          },
        ],
      },
    ],
  };
}

// IPPROTO_TCP, TCP_USER_TIMEOUT: accepted connections inherit it.
const userTimeout: JsonObject = {
  description: 'TCP_USER_TIMEOUT',
  level: 6,
  name: 18,
  int_value: edgeTimeouts.unacknowledgedSec * 1_000,
  state: 'STATE_PREBIND',
};

function connectionManager(options: EdgeOptions): JsonObject {
  return typed('envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager', {
    stat_prefix: 'edge',
    // HTTP/1.1 and HTTP/2 without TLS on one port.
    codec_type: 'AUTO',
    server_name: 'tideway',
    // The client's address is the connection's (or the trusted proxy's word). No client is "internal": headers that
    // steer Envoy are taken from nobody.
    use_remote_address: true,
    xff_num_trusted_hops: options.trustedHops,
    internal_address_config: { cidr_ranges: [{ address_prefix: '255.255.255.255', prefix_len: 32 }] },
    generate_request_id: true,
    always_set_request_id_in_response: true,
    normalize_path: true,
    merge_slashes: true,
    path_with_escaped_slashes_action: 'REJECT_REQUEST',
    max_request_headers_kb: edgeSizes.requestHeadersKiB,
    request_headers_timeout: seconds(edgeTimeouts.requestHeadersSec),
    stream_idle_timeout: seconds(edgeTimeouts.streamIdleSec),
    common_http_protocol_options: {
      idle_timeout: seconds(edgeTimeouts.downstreamIdleSec),
      max_headers_count: edgeSizes.requestHeadersCount,
    },
    http2_protocol_options: {
      max_concurrent_streams: edgeSizes.downstreamStreamsPerConnection,
      initial_stream_window_size: edgeSizes.streamWindowBytes,
      initial_connection_window_size: edgeSizes.downstreamConnectionWindowBytes,
      connection_keepalive: pings,
    },
    local_reply_config: localReplies,
    ...(options.accessLog ? { access_log: [accessLog] } : {}),
    route_config: {
      name: 'edge',
      virtual_hosts: [virtualHost(options)],
    },
    http_filters: httpFilters(options),
  });
}
