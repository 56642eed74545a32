/** What a port of ours takes from clients it knows nothing about. Every server has the same limits. */

/** Of all headers of a request, on either protocol; a token of 8 KiB in a URL or a header fits. */
export const MAX_HEADER_BYTES = 16 * 1024;
export const MAX_HEADER_COUNT = 100;

/** From the connection to the bytes that tell HTTP/1.1 and h2c apart. */
export const FIRST_BYTES_TIMEOUT_MS = 10_000;
/** From a request's first byte to its last header. */
export const HEADERS_TIMEOUT_MS = 10_000;
/**
 * From a request's first byte to the end of its body. Responses, and requests that are streams, may last; so may bodies of paths
 * that say so (`body-deadlines.ts`).
 */
export const REQUEST_TIMEOUT_MS = 30_000;
/** How often these deadlines are looked at on HTTP/1.1: how late they may be. */
export const DEADLINE_CHECK_INTERVAL_MS = 1000;
/**
 * Without a request. Longer than Envoy keeps an idle upstream connection (60 s), so that Envoy closes first: the other
 * way round, requests meet a closing connection. An h2 session that is over is cut if its client has not closed within one to
 * two times as long again.
 */
export const KEEP_ALIVE_TIMEOUT_MS = 75_000;

/** Without traffic, before the kernel asks whether the other end is still there; it then asks 10 times, every second. */
export const TCP_KEEP_ALIVE_MS = 30_000;
/** Connections of both protocols. More are closed at once. */
export const MAX_CONNECTIONS = 20_000;
/** Of a connection's h2 session, after it was told that the server goes: for requests that are already on their way. */
export const GOAWAY_GRACE_MS = 500;

export const H2_MAX_CONCURRENT_STREAMS = 1000;
/** What a stream may have sent that nobody has read: four of the largest messages. */
export const H2_STREAM_WINDOW_BYTES = 64 * 1024;
/**
 * The same for a connection. Publishers over their rate are held back by flow control, and Envoy puts many of them into
 * one connection: 256 of them can stand still before they stop the others.
 */
export const H2_CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024;
/** Of what Node holds for one session, above that window. */
export const H2_MAX_SESSION_MEMORY_MB = 32;
/**
 * Streams that the client resets. Listeners leave by a reset, and behind Envoy a thousand of them share a connection, so
 * Node's own 33 a second would end the connection for all when some leave. A flood is still ended in seconds.
 */
export const H2_STREAM_RESET_BURST = 10_000;
export const H2_STREAM_RESETS_PER_SEC = 1000;
export const H2_MAX_INVALID_FRAMES = 100;
export const H2_MAX_REJECTED_STREAMS = 100;
export const H2_MAX_SETTINGS_ENTRIES = 32;

/**
 * Connections that wait to be taken. Node's 511 is full within a moment when thousands of listeners come back at once, and who is
 * dropped then tries again after a second, and three. The kernel has the last word (net.core.somaxconn, 4096 as a rule).
 */
export const ACCEPT_BACKLOG = 4_096;

/** Of one RPC message before it is decoded: well above what is accepted, so that a refusal can name the field. */
export const RPC_MAX_MESSAGE_BYTES = 64 * 1024;

/** The limits that a listener can be given otherwise. */
export interface ListenLimits {
  readonly maxConnections: number;
  readonly maxHeaderBytes: number;
  readonly maxHeaderCount: number;
  readonly firstBytesTimeoutMs: number;
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly deadlineCheckIntervalMs: number;
  readonly keepAliveTimeoutMs: number;
}

export const DEFAULT_LISTEN_LIMITS: ListenLimits = {
  maxConnections: MAX_CONNECTIONS,
  maxHeaderBytes: MAX_HEADER_BYTES,
  maxHeaderCount: MAX_HEADER_COUNT,
  firstBytesTimeoutMs: FIRST_BYTES_TIMEOUT_MS,
  headersTimeoutMs: HEADERS_TIMEOUT_MS,
  requestTimeoutMs: REQUEST_TIMEOUT_MS,
  deadlineCheckIntervalMs: DEADLINE_CHECK_INTERVAL_MS,
  keepAliveTimeoutMs: KEEP_ALIVE_TIMEOUT_MS,
};
