import { type JsonObject, typed } from './json.ts';

/**
 * One JSON line a request, on standard output. A stream token stands in the query string and an API token in a header:
 * neither the query nor any request header is written, only names that are listed here.
 */
export const accessLogFields = {
  time: '%START_TIME%',
  method: '%REQ(:METHOD)%',
  // NQ: without the query. ORIG: what was asked for, before the transcoder rewrote it.
  path: '%PATH(NQ:ORIG_OR_PATH)%',
  protocol: '%PROTOCOL%',
  status: '%RESPONSE_CODE%',
  status_details: '%RESPONSE_CODE_DETAILS%',
  grpc_status: '%GRPC_STATUS%',
  flags: '%RESPONSE_FLAGS%',
  bytes_received: '%BYTES_RECEIVED%',
  bytes_sent: '%BYTES_SENT%',
  duration_ms: '%DURATION%',
  upstream_cluster: '%UPSTREAM_CLUSTER_RAW%',
  upstream_host: '%UPSTREAM_HOST%',
  attempts: '%UPSTREAM_REQUEST_ATTEMPT_COUNT%',
  client: '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%',
  request_id: '%REQ(X-REQUEST-ID)%',
} as const;

export const accessLog: JsonObject = {
  name: 'envoy.access_loggers.stdout',
  typed_config: typed('envoy.extensions.access_loggers.stream.v3.StdoutAccessLog', {
    log_format: { json_format: accessLogFields },
  }),
};
