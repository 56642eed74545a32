import {
  constants,
  createServer,
  Http2ServerRequest,
  type Http2Session,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Socket } from 'node:net';
import { LanedSocket } from './h2-lanes/laned-socket.ts';
import { wantsLanes } from './h2-lanes/wants-lanes.ts';
import { H2Response } from './h2-response.ts';
import type { H2Route, LaneOf } from './h2-route.ts';
import {
  GOAWAY_GRACE_MS,
  H2_CONNECTION_WINDOW_BYTES,
  H2_MAX_CONCURRENT_STREAMS,
  H2_MAX_INVALID_FRAMES,
  H2_MAX_REJECTED_STREAMS,
  H2_MAX_SESSION_MEMORY_MB,
  H2_MAX_SETTINGS_ENTRIES,
  H2_STREAM_RESET_BURST,
  H2_STREAM_RESETS_PER_SEC,
  H2_STREAM_WINDOW_BYTES,
  type ListenLimits,
} from './limits.ts';
import type { NodeHandler } from './node-handler.ts';
import { giveBack } from './raw-rpc.ts';

/** The h2c half of a port. */
export interface H2Server {
  /** Takes a connection that begins with the h2 preface; `seen` is still to be read from it. */
  take(socket: Socket, seen: Buffer): void;
  /** Tells every client to go elsewhere with its next request; sessions end with their last stream. */
  goAway(): void;
  /** Once nothing is left of it. */
  close(): void;
}

/** The largest stream id: no request that is on its way is refused yet. */
const LAST_STREAM_ID = 2 ** 31 - 1;

export interface H2Limits extends ListenLimits {
  /** In place of `requestTimeoutMs`: by a request's URL. */
  bodyTimeoutMsOf(url: string): number;
}

export function createH2Server(handler: NodeHandler, limits: H2Limits, routes: readonly H2Route[]): H2Server {
  const sessions = new Map<ServerHttp2Session, Socket>();
  const laned = new WeakMap<Http2Session, LanedSocket>();
  /** Set while its session is made, which is told at once. */
  let taken: { readonly socket: Socket; readonly lanes: LanedSocket | undefined } | undefined;
  const laneOf: LaneOf = (stream) =>
    stream.session === undefined ? undefined : laned.get(stream.session)?.laneOf(stream);
  const server = createServer(
    {
      settings: {
        initialWindowSize: H2_STREAM_WINDOW_BYTES,
        maxConcurrentStreams: H2_MAX_CONCURRENT_STREAMS,
        // HTTP/2 counts 32 bytes for each header on top (RFC 9113 section 6.5.2), and what is above it is reset, not answered.
        maxHeaderListSize: limits.maxHeaderBytes + 32 * limits.maxHeaderCount,
      },
      maxHeaderListPairs: limits.maxHeaderCount,
      maxSessionMemory: H2_MAX_SESSION_MEMORY_MB,
      maxSessionInvalidFrames: H2_MAX_INVALID_FRAMES,
      maxSessionRejectedStreams: H2_MAX_REJECTED_STREAMS,
      maxSettings: H2_MAX_SETTINGS_ENTRIES,
      streamResetBurst: H2_STREAM_RESET_BURST,
      streamResetRate: H2_STREAM_RESETS_PER_SEC,
      Http2ServerResponse: H2Response,
    },
    (request, response) => {
      watchBody(request, limits);
      handler(request, response);
    },
  );

  if (routes.length > 0) {
    const [compatible] = server.listeners('stream');
    server.removeAllListeners('stream');
    server.on('stream', (stream, headers, ...rest) => {
      const route = headers.expect === undefined ? routes.find((known) => known.takes(headers)) : undefined;
      if (route === undefined) {
        compatible?.call(server, stream, headers, ...rest);
        return;
      }
      // An error closes it, too; without a listener it would be the process's.
      stream.on('error', ignore);
      endBodyAfterAnswer(stream, headers[':path'] ?? '', limits);
      route.handle({
        stream,
        headers,
        laneOf,
        pass: (body) => answerCompatibly(stream, headers, rest[1], body, handler, limits),
      });
    });
  }

  server.on('session', (session) => {
    if (taken === undefined) throw new Error('a session that nobody took');
    const { socket, lanes } = taken;
    sessions.set(session, socket);
    if (lanes !== undefined) laned.set(session, lanes);
    session.on('close', () => sessions.delete(session));
    // Errors have closed the session already; without a listener they would end the process.
    session.on('error', () => session.destroy());
    session.setLocalWindowSize(H2_CONNECTION_WINDOW_BYTES);
    let streams = 0;
    /** Silent for long, which streams may be: to be closed when the last has ended and nothing comes after it. */
    let isLate = false;
    session.on('stream', (stream) => {
      streams++;
      stream.on('close', () => {
        streams--;
        // It may have been closed without a frame of its own, by a reset before it was known here.
        if (stream.id !== undefined) lanes?.forget(stream.id);
        if (streams > 0 || !isLate) return;
        isLate = false;
        session.setTimeout(limits.keepAliveTimeoutMs);
      });
    });
    session.setTimeout(limits.keepAliveTimeoutMs);
    session.on('timeout', () => {
      if (streams === 0) session.close();
      else isLate = true;
    });
  });

  // A session that is over waits for its client to take what was written and to close its half.
  let closing = new Set<Socket>();
  const cutting = setInterval(() => {
    const over = [...sessions].filter(([session]) => session.destroyed).map(([, socket]) => socket);
    for (const socket of over) if (closing.has(socket)) socket.destroy();
    closing = new Set(over);
  }, limits.keepAliveTimeoutMs).unref();

  return {
    take(socket, seen) {
      // The listener leaves sockets half open for HTTP/1.1; on h2 a client that ends has left.
      socket.allowHalfOpen = false;
      const lanes = routes.length > 0 && wantsLanes(seen) ? new LanedSocket(socket) : undefined;
      taken = { socket, lanes };
      server.emit('connection', lanes ?? socket);
      taken = undefined;
    },
    goAway() {
      for (const session of sessions.keys()) goAway(session);
    },
    close() {
      clearInterval(cutting);
    },
  };
}

/**
 * First says that the server goes, without refusing anything; once the client has heard it (it answers the ping, as
 * Envoy does, or the grace is over), what it sent before has arrived, and the session closes with its last stream.
 */
function goAway(session: ServerHttp2Session): void {
  // Over already, and waiting for its client to close.
  if (session.destroyed) return;
  const close = () => {
    clearTimeout(grace);
    if (!session.destroyed) session.close();
  };
  const grace = setTimeout(close, GOAWAY_GRACE_MS);
  session.on('close', () => clearTimeout(grace));
  session.goaway(constants.NGHTTP2_NO_ERROR, LAST_STREAM_ID);
  session.ping(close);
}

function ignore(): void {}

function answerCompatibly(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  rawHeaders: readonly string[],
  body: Uint8Array | undefined,
  handler: NodeHandler,
  limits: H2Limits,
): void {
  const request = new Http2ServerRequest(stream, headers, {}, rawHeaders);
  if (body === undefined) watchBody(request, limits);
  else giveBack(request, body);
  handler(request, new H2Response(stream));
}

/** gRPC and Connect's streams may send for as long as their answer lasts; everything else has a deadline for its body. */
function watchBody({ stream, headers, url }: Http2ServerRequest, limits: H2Limits): void {
  const type = headers['content-type'] ?? '';
  const isStream = type.startsWith('application/grpc') || type.startsWith('application/connect+');
  if (isStream) endBodyAfterAnswer(stream, url, limits);
  else endLateBody(stream, limits.bodyTimeoutMsOf(url));
}

// HTTP/1.1 has this from Node.
function endLateBody(stream: ServerHttp2Stream, timeoutMs: number): void {
  if (stream.endAfterHeaders) return;
  const deadline = setTimeout(() => {
    if (!stream.readableEnded && !stream.destroyed) stream.close(constants.NGHTTP2_CANCEL);
  }, timeoutMs);
  stream.on('end', () => clearTimeout(deadline));
  stream.on('close', () => clearTimeout(deadline));
}

/** Who was answered may not hold a stream, and with it the session, by never ending a body that nobody waits for. */
function endBodyAfterAnswer(stream: ServerHttp2Stream, url: string, limits: H2Limits): void {
  if (stream.endAfterHeaders) return;
  stream.on('finish', () => {
    if (!stream.readableEnded && !stream.destroyed) endLateBody(stream, limits.bodyTimeoutMsOf(url));
  });
}
