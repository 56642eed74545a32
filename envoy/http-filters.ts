import type { DescService } from '@bufbuild/protobuf';
import { AccountService } from '#gen/tideway/control/v1/account_service_pb.ts';
import { ControlService } from '#gen/tideway/control/v1/control_service_pb.ts';
import { EventService } from '#gen/tideway/events/v1/event_service_pb.ts';
import { PublishService } from '#gen/tideway/stream/v1/publish_service_pb.ts';
import { StreamService } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { type JsonObject, typed } from './json.ts';
import { edgeSizes } from './limits.ts';
import type { EdgeOptions } from './options.ts';

/** What every request passes through, in order. */
export function httpFilters(options: EdgeOptions): JsonObject[] {
  return [
    // First, so that refusals by the others carry its headers too, or a browser could not read them.
    { name: 'envoy.filters.http.cors', typed_config: typed('envoy.extensions.filters.http.cors.v3.Cors') },
    ...(options.ratePerAddressPerSec > 0 ? [addressRateLimit(options.ratePerAddressPerSec)] : []),
    // Off but for the routes that say how much: a body that is to be transcoded is held back until it is whole.
    {
      name: 'envoy.filters.http.buffer',
      typed_config: typed('envoy.extensions.filters.http.buffer.v3.Buffer', {
        max_request_bytes: edgeSizes.transcodedBodyBytes,
      }),
    },
    // Off but for the routes that bring a script.
    { name: LUA, typed_config: typed('envoy.extensions.filters.http.lua.v3.Lua') },
    {
      name: TRANSCODER,
      // What is empty is said too: `"projects": []` is easier to read for a program than nothing.
      typed_config: transcoder(options.descriptorSet, AIP_SERVICES, { always_print_primitive_fields: true }),
    },
    {
      name: 'envoy.filters.http.router',
      // Clients need not know what Envoy measured, and must not steer its retries.
      typed_config: typed('envoy.extensions.filters.http.router.v3.Router', { suppress_envoy_headers: true }),
    },
  ];
}

/** A bucket for each address, made when it first calls. The oldest are forgotten: 10,000 are remembered. */
function addressRateLimit(ratePerSec: number): JsonObject {
  const bucket = { max_tokens: ratePerSec * 2, tokens_per_fill: ratePerSec, fill_interval: '1s' };
  const always = { default_value: { numerator: 100, denominator: 'HUNDRED' } };
  return {
    name: 'envoy.filters.http.local_ratelimit',
    typed_config: typed('envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit', {
      stat_prefix: 'address',
      filter_enabled: always,
      filter_enforced: always,
      rate_limits: [{ actions: [{ masked_remote_address: { v4_prefix_mask_len: 32, v6_prefix_mask_len: 64 } }] }],
      descriptors: [{ entries: [{ key: 'masked_remote_address' }], token_bucket: bucket }],
      max_dynamic_descriptors: 10_000,
      always_consume_default_token_bucket: false,
      rate_limited_as_resource_exhausted: true,
      response_headers_to_add: [
        { header: { key: 'retry-after', value: '1' }, append_action: 'OVERWRITE_IF_EXISTS_OR_ADD' },
      ],
    }),
  };
}

export const LUA = 'envoy.filters.http.lua';
export const TRANSCODER = 'envoy.filters.http.grpc_json_transcoder';

/** Whose JSON forms are resources, in the style of Google's AIPs. */
export const AIP_SERVICES = [ControlService, AccountService, EventService];

/** Whose JSON forms are messages, and server-sent events of them. */
export const STREAM_SERVICES = [PublishService, StreamService];

/** JSON to RPC and back, by the google.api.http annotations of the contracts. */
export function transcoder(
  descriptorSet: Uint8Array,
  services: readonly DescService[],
  printOptions: JsonObject,
): JsonObject {
  return typed('envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder', {
    proto_descriptor_bin: Buffer.from(descriptorSet).toString('base64'),
    services: services.map(({ typeName }) => typeName),
    print_options: { preserve_proto_field_names: true, ...printOptions },
    // Errors as {"code", "message", "details"}.
    convert_grpc_status: true,
    // A misspelt last_event_id would replay everything without a word, and a body would overrule its path.
    // Answers are held back until they are whole, and one event may have a megabyte.
    max_response_body_size: edgeSizes.transcodedAnswerBytes,
    request_validation_options: { reject_unknown_query_parameters: true, reject_binding_body_field_collisions: true },
  });
}
