import { allowedToPages, withoutCors } from './allowed-to-pages.ts';
import { type JsonObject, typed } from './json.ts';

// What the services say where they can't go on.
const reconnectMs = 3_000;

// Once the transcoder has taken a request, its path is the RPC's, and what was asked for is in a header of Envoy's.
const isJsonApi: JsonObject = {
  or_filter: {
    filters: ['/v1/', '/auth/'].flatMap((prefix) => [pathStarts(prefix), pathStarts(prefix, 'x-envoy-original-path')]),
  },
};

const readableByPages = [
  header('access-control-allow-origin', '*'),
  header('access-control-expose-headers', 'retry-after'),
];

/**
 * What Envoy answers itself, when no service does.
 *
 * EventSource gives up for ever on a 4xx or a 5xx. A service that is away, and a rate that is exceeded, pass: a listener
 * is answered as the service would answer, and comes back.
 */
export const localReplies: JsonObject = {
  mappers: [
    ...whileOverloaded(),
    eventStreamError(['GE', 500], 'Service unavailable'),
    eventStreamError(['EQ', 429], 'Rate limit exceeded'),
    ...jsonErrors(
      [400, 3],
      [404, 5],
      [408, 4, 'Request too slow'],
      [413, 8, 'Request too large'],
      [429, 8, 'Rate limit exceeded'],
    ),
    ...jsonErrors([500, 13], [503, 14, 'Service unavailable'], [504, 4, 'Service too slow']),
    // What the relay would say too: an SDK in a page that can't read the answer sends on as before.
    ...textErrors({ filter: pathStarts('/api/'), headers: readableByPages }),
    ...textErrors(),
  ],
};

interface Mapper extends JsonObject {
  readonly filter: JsonObject;
  readonly headers_to_add?: readonly JsonObject[];
}

/**
 * Envoy then answers before it has asked the CORS filter, and a browser ends an EventSource for good that it may not read.
 * This says the same to everybody, so that everybody may.
 */
function whileOverloaded(): JsonObject[] {
  const text = 'Service unavailable';
  // No flag of a response tells it.
  const overloaded: JsonObject = {
    extension_filter: {
      name: 'envoy.access_loggers.extension_filters.cel',
      typed_config: typed('envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter', {
        expression: 'response.code_details == "overload"',
      }),
    },
  };
  const answers = [
    preflightAnswer(),
    eventStreamError(['GE', 500], text),
    ...jsonErrors([503, 14, text]),
    textError(503, text),
  ];
  return answers.map((mapper) => ({
    ...mapper,
    filter: { and_filter: { filters: [mapper.filter, overloaded] } },
    headers_to_add: [...(mapper.headers_to_add ?? []), ...readableByPages],
  }));
}

/** Or no page would see what its call is answered: only that it failed. What comes then is refused or taken as any other. */
function preflightAnswer(): Mapper {
  return {
    filter: {
      and_filter: {
        filters: [
          headerIs(':method', { exact: 'OPTIONS' }),
          { header_filter: { header: { name: 'access-control-request-method', present_match: true } } },
          ...Object.values(withoutCors).map((prefix) => headerIs(':path', { prefix }, { invert_match: true })),
        ],
      },
    },
    status_code: 200,
    body: { inline_string: '' },
    headers_to_add: [
      header('access-control-allow-methods', allowedToPages.methods),
      header('access-control-allow-headers', allowedToPages.headers),
    ],
  };
}

function eventStreamError([op, status]: readonly ['GE' | 'EQ', number], text: string): Mapper {
  const body = `retry: ${reconnectMs}\nevent: error\ndata: ${text}\n\n`;
  return {
    filter: { and_filter: { filters: [statusIs(op, status), pathStarts('/events/')] } },
    status_code: 200,
    body: { inline_string: body },
    body_format_override: {
      text_format_source: { inline_string: '%LOCAL_REPLY_BODY%' },
      content_type: 'text/event-stream',
    },
    headers_to_add: [header('cache-control', 'no-cache, no-transform'), header('x-accel-buffering', 'no')],
  };
}

/** The JSON APIs' errors are the transcoder's: the number of the RPC code, and a message (Envoy's, where none is given). */
function jsonErrors(...errors: readonly (readonly [status: number, code: number, text?: string])[]): Mapper[] {
  return errors.map(([status, code, text]) => ({
    filter: { and_filter: { filters: [statusIs('EQ', status), isJsonApi] } },
    ...(text === undefined ? {} : { body: { inline_string: text } }),
    body_format_override: { json_format: { code, message: '%LOCAL_REPLY_BODY%' } },
    ...retryable(status),
  }));
}

interface Answered {
  readonly filter: JsonObject;
  readonly headers: readonly JsonObject[];
}

/** Envoy's own texts tell where the service runs. */
function textErrors(what?: Answered): JsonObject[] {
  return [
    textError(413, 'Request too large', what),
    textError(429, 'Rate limit exceeded', what),
    textError(503, 'Service unavailable', what),
    textError(504, 'Service too slow', what),
  ];
}

function textError(status: number, text: string, what?: Answered): Mapper {
  const ofStatus = statusIs('EQ', status);
  const filter = what === undefined ? ofStatus : { and_filter: { filters: [ofStatus, what.filter] } };
  return { filter, body: { inline_string: text }, ...retryable(status, what?.headers) };
}

function retryable(status: number, more: readonly JsonObject[] = []): Pick<Mapper, 'headers_to_add'> {
  const headers = [...(status === 503 ? [header('retry-after', '1')] : []), ...more];
  return headers.length > 0 ? { headers_to_add: headers } : {};
}

function statusIs(op: 'GE' | 'EQ', value: number): JsonObject {
  return {
    // Every status filter must name a runtime key that could change it. Nobody sets this one.
    status_code_filter: { comparison: { op, value: { default_value: value, runtime_key: 'tideway.unused' } } },
  };
}

function pathStarts(prefix: string, header = ':path'): JsonObject {
  return headerIs(header, { prefix });
}

function headerIs(name: string, match: JsonObject, more: JsonObject = {}): JsonObject {
  return { header_filter: { header: { name, string_match: match, ...more } } };
}

function header(key: string, value: string): JsonObject {
  return { header: { key, value }, append_action: 'OVERWRITE_IF_EXISTS_OR_ADD' };
}
