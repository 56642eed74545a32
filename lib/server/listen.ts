import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { BodyDeadlines, bodyTimeouts, type SlowPaths } from './body-deadlines.ts';
import { tellProtocol } from './first-bytes.ts';
import { createH1ResponseClass, rejectManyHeaders } from './h1.ts';
import { createH2Server } from './h2.ts';
import type { H2Route } from './h2-route.ts';
import { ACCEPT_BACKLOG, DEFAULT_LISTEN_LIMITS, type ListenLimits, TCP_KEEP_ALIVE_MS } from './limits.ts';
import type { NodeHandler } from './node-handler.ts';

export interface ListenOptions {
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
  /** Gets requests of both protocols. What it throws ends its request only, and is told to `onError`. */
  readonly handler: NodeHandler;
  /** Asked before it, of requests on h2. */
  readonly h2Routes?: readonly H2Route[];
  readonly limits?: Partial<ListenLimits>;
  /** Whose bodies have longer than `limits` say. */
  readonly slowPaths?: readonly SlowPaths[];
  readonly onError?: (error: unknown) => void;
}

/**
 * One TCP port for HTTP/1.1 and h2c (with prior knowledge).
 *
 * Nothing that a client sends or does not send ends the process, holds a connection beyond the limits without a
 * response or a stream that is under way, or makes it buffer more than they say.
 */
export interface Listening {
  readonly host: string;
  readonly port: number;
  /** Open connections of both protocols. */
  connections(): number;
  /**
   * Takes no more connections, and tells the ones there are to go: GOAWAY on h2, `Connection: close` on HTTP/1.1; idle
   * ones are closed. What is under way goes on. Resolves when the last connection has ended; {@link destroy} makes it
   * do so.
   */
  stopAccepting(): Promise<void>;
  /** Cuts everything that is left. */
  destroy(): void;
}

/** Another program has the port. */
export class PortTakenError extends Error {
  override readonly name = 'PortTakenError';
  constructor(host: string, port: number) {
    super(`port ${port} on ${host} is taken by another program`);
  }
}

/** This machine has no such address, or keeps the port from this user. */
export class CantListenError extends Error {
  override readonly name = 'CantListenError';
  constructor(host: string, port: number, code: string) {
    super(`can't listen on port ${port} of ${host} (${code})`);
  }
}

/** While stopping: how often connections are looked at that have become idle. */
const IDLE_SWEEP_INTERVAL_MS = 100;

/** @throws PortTakenError, CantListenError */
export async function listen(options: ListenOptions): Promise<Listening> {
  const limits = { ...DEFAULT_LISTEN_LIMITS, ...options.limits };
  const onError = options.onError ?? (() => {});
  const handler = catchErrors(options.handler, onError);
  const sockets = new Set<Socket>();
  const untold = new Set<Socket>();
  let stopped: Promise<void> | undefined;

  const { slowPaths = [], h2Routes = [] } = options;
  const timeoutMsOf = bodyTimeouts(slowPaths, limits.requestTimeoutMs);
  const longestMs = Math.max(limits.requestTimeoutMs, ...slowPaths.map(({ requestTimeoutMs }) => requestTimeoutMs));
  const h2 = createH2Server(handler, { ...limits, bodyTimeoutMsOf: timeoutMsOf }, h2Routes);
  const handleH1 = rejectManyHeaders(handler, limits.maxHeaderCount);
  const bodies =
    slowPaths.length === 0
      ? undefined
      : new BodyDeadlines({ timeoutMsOf, longestMs, checkIntervalMs: limits.deadlineCheckIntervalMs });
  const h1 = createServer(
    {
      ServerResponse: createH1ResponseClass(() => stopped !== undefined),
      maxHeaderSize: limits.maxHeaderBytes,
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: longestMs,
      connectionsCheckingInterval: limits.deadlineCheckIntervalMs,
      keepAliveTimeout: limits.keepAliveTimeoutMs,
      keepAlive: true,
      keepAliveInitialDelay: TCP_KEEP_ALIVE_MS,
      noDelay: true,
    },
    bodies === undefined ? handleH1 : bodies.guard(handleH1),
  );
  // One more than allowed, so that too many can be told: Node leaves out what is above without a word.
  h1.maxHeadersCount = limits.maxHeaderCount + 1;
  h1.maxConnections = limits.maxConnections;
  const toH1 = takeOverConnections(h1, (socket) => {
    sockets.add(socket);
    untold.add(socket);
    socket.on('close', () => {
      sockets.delete(socket);
      untold.delete(socket);
    });
    // Whatever goes wrong with a socket closes it, which is all that there is to do. Its owner may listen too.
    socket.on('error', () => socket.destroy());
    tellProtocol(socket, limits.firstBytesTimeoutMs, (protocol, seen) => {
      untold.delete(socket);
      if (protocol === 'h2') {
        h2.take(socket, seen);
      } else {
        toH1(socket);
        socket.resume();
      }
    });
  });
  await listenOn(h1, options.host, options.port);
  // Of accepting a connection, when the process runs out of file descriptors: it is told, and the next one may do.
  h1.on('error', onError);

  async function stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => h1.close(() => resolve()));
    for (const socket of untold) socket.destroy();
    h2.goAway();
    const sweep = setInterval(() => h1.closeIdleConnections(), IDLE_SWEEP_INTERVAL_MS);
    await closed;
    clearInterval(sweep);
    bodies?.close();
    h2.close();
  }

  const { address, port } = addressOf(h1);
  return {
    host: address,
    port,
    connections: () => sockets.size,
    stopAccepting() {
      stopped ??= stop();
      return stopped;
    },
    destroy() {
      stopped ??= stop();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/**
 * http.Server stays the owner of the port, since its deadlines and the care for idle connections come with listening;
 * only what it does with a new connection is put off until the protocol is known.
 */
function takeOverConnections(server: Server, onConnection: (socket: Socket) => void): (socket: Socket) => void {
  const original = server.listeners('connection');
  server.removeAllListeners('connection');
  server.on('connection', onConnection);
  return (socket) => {
    for (const listener of original) listener.call(server, socket);
  };
}

function listenOn(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', ({ code = '' }: NodeJS.ErrnoException) => {
      reject(code === 'EADDRINUSE' ? new PortTakenError(host, port) : new CantListenError(host, port, code));
    });
    server.listen({ host, port, backlog: ACCEPT_BACKLOG }, () => {
      server.removeAllListeners('error');
      resolve();
    });
  });
}

function addressOf(server: Server): AddressInfo {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not listening on a TCP port');
  return address;
}

function catchErrors(handler: NodeHandler, onError: (error: unknown) => void): NodeHandler {
  return (request, response) => {
    try {
      handler(request, response);
    } catch (error) {
      const isOfClient = isInvalidUrl(error);
      if (!isOfClient) onError(error);
      if (response.headersSent) {
        response.destroy();
      } else {
        response.statusCode = isOfClient ? 400 : 500;
        response.end();
      }
    }
  };
}

/** connect-node makes a URL of path and Host, which may be none. The error has both in it, with the query: nothing to log. */
function isInvalidUrl(error: unknown): boolean {
  return error instanceof TypeError && 'code' in error && error.code === 'ERR_INVALID_URL';
}
