import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Paths whose bodies may take longer than a port's others. */
export interface SlowPaths {
  owns(path: string): boolean;
  /** From a request's first byte to the end of its body. */
  readonly requestTimeoutMs: number;
}

/** How long a port waits for the body of a request to this URL, where it is `timeoutMs` for all but the slow paths. */
export function bodyTimeouts(slowPaths: readonly SlowPaths[], timeoutMs: number): (url: string) => number {
  if (slowPaths.length === 0) return () => timeoutMs;
  return (url) => {
    const question = url.indexOf('?');
    const path = question < 0 ? url : url.slice(0, question);
    return slowPaths.find((paths) => paths.owns(path))?.requestTimeoutMs ?? timeoutMs;
  };
}

export interface BodyDeadlineOptions {
  /** By its URL, from the end of a request's head, which has a deadline of its own. */
  timeoutMsOf(url: string): number;
  /** The longest of them, which Node's server keeps. */
  readonly longestMs: number;
  readonly checkIntervalMs: number;
}

interface Body {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly deadlineMs: number;
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

const REQUEST_TIMEOUT = 'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n';

/**
 * Deadlines of bodies over HTTP/1.1 that differ by path. Node's server has one for all, so that it gets the longest, and the
 * shorter ones are kept here: by a look at the connections once in a while, since a timer for each request would cost more
 * than many a request.
 */
export class BodyDeadlines {
  readonly #options: BodyDeadlineOptions;
  /** The last of each connection, which alone can be under way; one that has arrived stays until the next look. */
  readonly #bodies = new Map<Socket, Body>();
  readonly #checking: NodeJS.Timeout;

  constructor(options: BodyDeadlineOptions) {
    this.#options = options;
    this.#checking = setInterval(() => this.#check(), options.checkIntervalMs).unref();
  }

  guard(handler: Handler): Handler {
    return (request, response) => {
      if (hasBody(request)) this.#begin(request, response);
      handler(request, response);
    };
  }

  close(): void {
    clearInterval(this.#checking);
  }

  #begin(request: IncomingMessage, response: ServerResponse): void {
    const timeoutMs = this.#options.timeoutMsOf(request.url ?? '/');
    if (timeoutMs >= this.#options.longestMs) return;
    this.#bodies.set(request.socket, { request, response, deadlineMs: performance.now() + timeoutMs });
  }

  #check(): void {
    const nowMs = performance.now();
    for (const [socket, { request, response, deadlineMs }] of this.#bodies) {
      const isOver = request.complete || socket.destroyed;
      if (!isOver && deadlineMs > nowMs) continue;
      this.#bodies.delete(socket);
      if (isOver) continue;
      // As Node's server does it.
      if (!response.headersSent && socket.writable) socket.write(REQUEST_TIMEOUT);
      socket.destroy();
    }
  }
}

function hasBody({ headers }: IncomingMessage): boolean {
  const length = headers['content-length'];
  return headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0');
}
