import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { Lane } from './h2-lanes/lane.ts';

/**
 * Requests on h2 that are answered on their stream, without Node's compatible request and response, which keep what a request
 * brought, and more, for as long as its answer lasts.
 */
export interface H2Route {
  /** Whether it takes a request. Asked with every one: it must cost next to nothing. */
  takes(headers: IncomingHttpHeaders): boolean;
  /** Answers, or calls `pass` once. */
  handle(call: H2Call): void;
}

/** Where the body of an answer of many small writes goes; undefined: to the stream. See `LanedSocket.laneOf`. */
export type LaneOf = (stream: ServerHttp2Stream) => Lane | undefined;

export interface H2Call {
  readonly stream: ServerHttp2Stream;
  readonly headers: IncomingHttpHeaders;
  readonly laneOf: LaneOf;
  /** Leaves it to who answers everything else, with nothing written. `body`: what was read of it, to its end. */
  pass(body?: Uint8Array): void;
}
