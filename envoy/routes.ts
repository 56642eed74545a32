import { ConfigService } from '#gen/tideway/config/v1/config_service_pb.ts';
import { ControlService } from '#gen/tideway/control/v1/control_service_pb.ts';
import { EventService } from '#gen/tideway/events/v1/event_service_pb.ts';
import { RelayService } from '#gen/tideway/relay/v1/relay_service_pb.ts';
import { allowedToPages, withoutCors } from './allowed-to-pages.ts';
import { AIP_SERVICES, LUA, STREAM_SERVICES, TRANSCODER, transcoder } from './http-filters.ts';
import { type JsonObject, seconds, typed } from './json.ts';
import { pathsOf, pathVariablesOf } from './json-paths.ts';
import { knownFieldsScript } from './known-fields.ts';
import { edgeEjection, edgeSizes, edgeTimeouts } from './limits.ts';
import type { EdgeOptions } from './options.ts';
import { hashedBy } from './stream-affinity.ts';
import { holdUntilWhole } from './whole-answers.ts';

/**
 * Which path goes where, and how patiently. The first match wins.
 *
 * What is sent again: only what is safe twice. A publish is stored once however often it arrives, StartStream only
 * signs, and a listen has no effect. `reset` is needed beside `connect-failure`, or a replica that is killed takes its
 * unanswered publishes with it. A PublishStream is a conversation and is never repeated. Nor is what a service answered:
 * its 503 says that the broker is away, which it is for every replica, and three times the wait helps nobody.
 */
export function virtualHost(options: EdgeOptions): JsonObject {
  const reflection = [route({ prefix: '/grpc.reflection.v1' }, 'stream', openEnded(edgeTimeouts.controlIdleSec))];
  const listeningToOne = { ...listening, ...hashedBy(options.streamAffinity) };
  return {
    name: 'tideway',
    domains: ['*'],
    // Longer requests pass, but are not sent again.
    request_body_buffer_limit: edgeSizes.retryBufferBytes,
    typed_per_filter_config: {
      'envoy.filters.http.cors': cors,
      'envoy.filters.http.buffer': typed('envoy.extensions.filters.http.buffer.v3.BufferPerRoute', { disabled: true }),
    },
    routes: [
      route({ prefix: '/events/' }, 'stream', listeningToOne),
      repeatable({ prefix: '/publish/' }, 'publish'),
      route(
        { path: '/tideway.stream.v1.PublishService/PublishStream' },
        'publish',
        openEnded(edgeTimeouts.publishStreamIdleSec),
      ),
      route({ path: '/tideway.stream.v1.PublishService/WatchCancel' }, 'publish', listening),
      repeatable({ prefix: '/tideway.stream.v1.PublishService/' }, 'publish'),
      route({ path: '/tideway.stream.v1.StreamService/Subscribe' }, 'stream', listeningToOne),
      route({ path: '/tideway.stream.v1.StreamService/SubscribeMany' }, 'stream', listening),
      repeatable({ prefix: '/tideway.stream.v1.StreamService/' }, 'stream'),
      // Changes are made once: what may have arrived is not sent again.
      route({ prefix: `/${ControlService.typeName}/` }, 'control', unary('connect-failure,refused-stream')),
      ownPagesOnly(route({ prefix: withoutCors.accounts }, 'control', unary('connect-failure,refused-stream'))),
      // What relays ask has no effect: it is safe to ask again.
      route({ path: `/${ConfigService.typeName}/WatchProjectConfigs` }, 'config', listening),
      route({ prefix: `/${ConfigService.typeName}/` }, 'config', unary('connect-failure,refused-stream,reset')),
      route({ prefix: '/api/0/relays/' }, 'config', unary('connect-failure,refused-stream,reset')),
      intake({ prefix: withoutCors.intake }),
      route({ prefix: `/${RelayService.typeName}/` }, 'relay', openEnded(edgeTimeouts.publishStreamIdleSec)),
      route({ path: `/${EventService.typeName}/ReadAttachment` }, 'events', listening),
      route({ prefix: `/${EventService.typeName}/` }, 'events', unary('connect-failure,refused-stream,reset')),
      route({ prefix: '/grpc.health.v1.Health/' }, 'stream', openEnded(edgeTimeouts.controlIdleSec)),
      ...(options.reflection ? reflection : []),
      route({ path: '/healthz' }, 'stream', unary('connect-failure,refused-stream')),
      route({ path: '/readyz' }, 'stream', unary('connect-failure,refused-stream')),
      pathVariableInQuery,
      ...streamJson(options),
      // The transcoder turns what it knows into an RPC, which the routes above then take. What stays is nothing.
      { ...untranscoded({ prefix: '/v1/' }), typed_per_filter_config: jsonChecks },
      // Here what stays are the redirects to and from an OpenID provider.
      ownPagesOnly(route({ prefix: withoutCors.auth }, 'control', unary('connect-failure,refused-stream')), jsonChecks),
      options.upstreams.web
        ? route({ prefix: '/' }, 'web', unary('connect-failure,refused-stream'))
        : noSuchPath({ prefix: '/' }),
    ],
  };
}

type Match =
  | { readonly path: string }
  | { readonly prefix: string }
  | { readonly safe_regex: { readonly regex: string } };

function route(match: Match, cluster: string, action: JsonObject): JsonObject {
  return { match, route: { cluster, ...action, ...(cluster === 'stream' ? triedUntilOut(action) : {}) } };
}

/** A stream process that died is asked more often before it is out. */
function triedUntilOut({ retry_policy: policy }: JsonObject): JsonObject {
  if (policy === undefined) return {};
  return { retry_policy: { ...(policy as JsonObject), num_retries: edgeEjection.streamFailuresUntilOut } };
}

/** One request, one answer, and no harm in asking twice: also if a replica died in the middle of answering. */
function repeatable(match: Match, cluster: string): JsonObject {
  return { ...route(match, cluster, unary('connect-failure,refused-stream,reset')), metadata: holdUntilWhole };
}

/** Parameters of a query, in regular expressions. */
const pathVariables = `(${pathVariablesOf([...STREAM_SERVICES, ...AIP_SERVICES]).join('|')})([=.&].*)?`;
const escapedName = '[^=&]*%.*';

/** One request, one answer. */
function unary(retryOn: string): JsonObject {
  return {
    timeout: seconds(edgeTimeouts.unarySec),
    // HTTP's request timeout would cut PublishStream too. This bounds a body sent byte by byte.
    max_stream_duration: { max_stream_duration: seconds(edgeTimeouts.unaryExchangeSec) },
    retry_policy: retries(retryOn),
  };
}

/**
 * What SDKs send. It may be large, and is not sent again once it may have arrived: an SDK that gives its events no ids
 * would have them twice. What browsers may read of the answers is a part of the protocol, and said by the relay.
 */
function intake(match: Match): JsonObject {
  const action = {
    ...openEnded(edgeTimeouts.streamIdleSec),
    max_stream_duration: { max_stream_duration: seconds(edgeTimeouts.intakeExchangeSec) },
    retry_policy: retries('connect-failure,refused-stream'),
  };
  return ownPagesOnly(route(match, 'intake', action));
}

/** A stream that lasts as long as bytes pass within `idleSec`. */
function openEnded(idleSec: number): JsonObject {
  return { timeout: '0s', idle_timeout: seconds(idleSec) };
}

/** A listener's stream. Tried elsewhere only while no byte of an answer has been sent; it has no effect that could be had twice. */
const listening: JsonObject = {
  ...openEnded(edgeTimeouts.listenIdleSec),
  retry_policy: retries('connect-failure,refused-stream,reset'),
};

function retries(retryOn: string): JsonObject {
  return {
    retry_on: retryOn,
    num_retries: edgeEjection.failuresUntilOut,
    // Never the one that just failed: it is the least busy of all, and would be chosen again.
    retry_host_predicate: [
      {
        name: 'envoy.retry_host_predicates.previous_hosts',
        typed_config: typed('envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate'),
      },
    ],
    // Of two replicas, each attempt finds the dead one three times in four.
    host_selection_retry_max_attempts: 50,
    retry_back_off: { base_interval: '0.025s', max_interval: '0.25s' },
  };
}

/**
 * To the transcoder a query parameter may name any field, and overrules the path without a word: whoever lets a caller in
 * by the organization in the path would let it into another. Fields have two names in JSON, and a name may be escaped.
 */
const pathVariableInQuery: JsonObject = {
  match: {
    prefix: '/v1/',
    headers: [
      { name: ':path', string_match: { safe_regex: { regex: `[^?]*\\?(.*&)?(${pathVariables}|${escapedName})` } } },
    ],
  },
  typed_per_filter_config: {
    [TRANSCODER]: typed('envoy.config.route.v3.FilterConfig', { disabled: true }),
  },
  direct_response: {
    status: 400,
    body: {
      inline_string: 'What the path names is no parameter of the query, and names of parameters have no escapes',
    },
  },
};

/** The JSON forms of messages, which say nothing of what is empty; many are server-sent events. */
function streamJson({ descriptorSet }: EdgeOptions): JsonObject[] {
  return pathsOf(STREAM_SERVICES).map((regex) => ({
    ...untranscoded({ safe_regex: { regex } }),
    typed_per_filter_config: {
      'envoy.filters.http.buffer': bodyLimit,
      [TRANSCODER]: transcoder(descriptorSet, STREAM_SERVICES, {
        stream_newline_delimited: true,
        stream_sse_style_delimited: true,
      }),
    },
  }));
}

/**
 * A service says that there is nothing. Envoy could, but on routes that it answers itself the CORS filter does nothing,
 * neither for preflights nor for what the transcoder then sends elsewhere.
 */
function untranscoded(match: Match): JsonObject {
  return route(match, 'stream', unary('connect-failure,refused-stream'));
}

function noSuchPath(match: Match): JsonObject {
  return { match, direct_response: { status: 404, body: { inline_string: 'Not found' } } };
}

/** The transcoder's own limit counts each piece of a body, not the whole. */
const bodyLimit: JsonObject = typed('envoy.extensions.filters.http.buffer.v3.BufferPerRoute', {
  buffer: { max_request_bytes: edgeSizes.transcodedBodyBytes },
});

/** What the JSON forms of resources are held to before they are RPCs. */
const jsonChecks: JsonObject = {
  'envoy.filters.http.buffer': bodyLimit,
  [LUA]: typed('envoy.extensions.filters.http.lua.v3.LuaPerRoute', {
    source_code: { inline_string: knownFieldsScript(AIP_SERVICES) },
  }),
};

/** Another origin's page is not told what was answered, not even that anything was. */
function ownPagesOnly(of: JsonObject, filters: JsonObject = {}): JsonObject {
  const without = typed('envoy.config.route.v3.FilterConfig', { disabled: true });
  return { ...of, typed_per_filter_config: { ...filters, 'envoy.filters.http.cors': without } };
}

/**
 * Any page may call with a token. No page of another origin may with a cookie: it is told to nobody that credentials may
 * come along, browsers send it with no write of another site, and the services take it from pages of our own alone.
 */
const cors: JsonObject = typed('envoy.extensions.filters.http.cors.v3.CorsPolicy', {
  allow_origin_string_match: [{ safe_regex: { regex: '.*' } }],
  allow_methods: allowedToPages.methods,
  allow_headers: allowedToPages.headers,
  expose_headers: 'grpc-status, grpc-message, grpc-status-details-bin, retry-after, tideway-duplicate',
  max_age: '7200',
});
