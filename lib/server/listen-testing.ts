import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectH2,
  type OutgoingHttpHeaders,
} from 'node:http2';
import { connect as connectTcp, type Socket } from 'node:net';
import { expect, onTestFinished } from 'vitest';
import { type Listening, type ListenOptions, listen } from './listen.ts';
import type { NodeHandler } from './node-handler.ts';

/** What the tests of a port share: ports and clients that are gone when a test ends. */

export const H2_PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
export const EMPTY_SETTINGS_FRAME = '\0\0\0\x04\0\0\0\0\0';
export const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

export async function start(handler: NodeHandler, options: Partial<ListenOptions> = {}): Promise<Listening> {
  const limits = { deadlineCheckIntervalMs: 20, ...options.limits };
  const listening = await listen({ host: '127.0.0.1', port: 0, handler, ...options, limits });
  onTestFinished(async () => {
    listening.destroy();
    await listening.stopAccepting();
  });
  return listening;
}

/** Answers with the protocol's version and the size of the body. */
export const echo: NodeHandler = (request, response) => {
  let bytes = 0;
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.byteLength;
  });
  request.on('end', () => {
    response.writeHead(200);
    response.end(`${request.httpVersion} ${bytes}`);
  });
};

/** Starts a response and leaves it open until the test ends it. */
export function held(): { handler: NodeHandler; started: Promise<void>; end: (text: string) => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  let end = (_: string): void => {};
  return {
    started: promise,
    end: (last) => end(last),
    handler: (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('begin ');
      end = (last) => response.end(last);
      resolve();
    },
  };
}

export function tcp({ port }: Listening): Socket {
  const socket = connectTcp({ port, host: '127.0.0.1', allowHalfOpen: true });
  socket.on('error', () => {});
  onTestFinished(() => void socket.destroy());
  return socket;
}

export function h2({ port }: Listening): ClientHttp2Session {
  const session = connectH2(`http://127.0.0.1:${port}`);
  session.on('error', () => {});
  onTestFinished(() => session.destroy());
  return session;
}

export function request(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders = {},
  body?: string,
): ClientHttp2Stream {
  const stream = session.request({ ':path': '/', ...headers });
  stream.setEncoding('utf8');
  stream.end(body);
  return stream;
}

export async function eventually(condition: () => boolean): Promise<void> {
  await expect.poll(condition, { timeout: 20_000, interval: 5 }).toBe(true);
}
