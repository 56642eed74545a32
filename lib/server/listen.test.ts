import { once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectH2,
  constants,
  type OutgoingHttpHeaders,
} from 'node:http2';
import { connect as connectTcp, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, test } from 'vitest';
import { type Listening, type ListenOptions, listen, PortTakenError } from './listen.ts';
import type { NodeHandler } from './node-handler.ts';

const H2_PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const EMPTY_SETTINGS_FRAME = '\0\0\0\x04\0\0\0\0\0';
const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

const opened: Listening[] = [];
const sockets: Socket[] = [];
const sessions: ClientHttp2Session[] = [];

afterEach(async () => {
  for (const session of sessions.splice(0)) session.destroy();
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const listening of opened.splice(0)) {
    listening.destroy();
    await listening.stopAccepting();
  }
});

async function start(handler: NodeHandler, options: Partial<ListenOptions> = {}): Promise<Listening> {
  const limits = { deadlineCheckIntervalMs: 20, ...options.limits };
  const listening = await listen({ host: '127.0.0.1', port: 0, handler, ...options, limits });
  opened.push(listening);
  return listening;
}

/** Answers with the protocol's version and the size of the body. */
const echo: NodeHandler = (request, response) => {
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
function held(): { handler: NodeHandler; started: Promise<void>; end: (text: string) => void } {
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

function tcp({ port }: Listening): Socket {
  const socket = connectTcp({ port, host: '127.0.0.1', allowHalfOpen: true });
  socket.on('error', () => {});
  sockets.push(socket);
  return socket;
}

function h2({ port }: Listening): ClientHttp2Session {
  const session = connectH2(`http://127.0.0.1:${port}`);
  session.on('error', () => {});
  sessions.push(session);
  return session;
}

function request(session: ClientHttp2Session, headers: OutgoingHttpHeaders = {}, body?: string): ClientHttp2Stream {
  const stream = session.request({ ':path': '/', ...headers });
  stream.setEncoding('utf8');
  stream.end(body);
  return stream;
}

async function eventually(condition: () => boolean): Promise<void> {
  await expect.poll(condition, { timeout: 5000, interval: 5 }).toBe(true);
}

describe('one port', () => {
  test('answers HTTP/1.1 and h2c', async () => {
    const listening = await start(echo);
    const post = await fetch(`http://127.0.0.1:${listening.port}`, { method: 'POST', body: 'x'.repeat(100_000) });
    expect(await post.text()).toBe('1.1 100000');
    const session = h2(listening);
    expect(await text(request(session, { ':method': 'POST' }, 'x'.repeat(300_000)))).toBe('2.0 300000');
    expect(await text(request(session))).toBe('2.0 0');
    expect(listening.connections()).toBe(2);
  });

  test.each([1, 2, 3, 20])('tells HTTP/1.1 by a first piece of %i bytes', async (length) => {
    const listening = await start(echo);
    // PROPFIND is the method that the h2 preface resembles the longest.
    const message = 'PROPFIND / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
    const socket = tcp(listening).setNoDelay(true);
    socket.write(message.slice(0, length));
    await eventually(() => listening.connections() === 1);
    socket.write(message.slice(length));
    expect(await text(socket)).toContain('HTTP/1.1 200 OK');
  });

  test.each([1, 3, 23])('tells h2 by a first piece of %i bytes', async (length) => {
    const listening = await start(echo);
    const socket = tcp(listening).setNoDelay(true);
    socket.write(H2_PREFACE.slice(0, length));
    await eventually(() => listening.connections() === 1);
    socket.write(H2_PREFACE.slice(length));
    socket.write(EMPTY_SETTINGS_FRAME, 'latin1');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    // A SETTINGS frame (type 4) comes first.
    expect(answer[3]).toBe(4);
  });

  test('answers requests that came in one piece with the first bytes', async () => {
    const listening = await start(echo);
    const socket = tcp(listening);
    socket.write(GET + GET.replace('Host: a', 'Host: a\r\nConnection: close'));
    const answers = await text(socket);
    expect(answers.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(2);
  });

  test('says in one line that the port is taken', async () => {
    const listening = await start(echo);
    const second = listen({ host: '127.0.0.1', port: listening.port, handler: echo });
    await expect(second).rejects.toThrow(PortTakenError);
    await expect(second).rejects.toThrow(`port ${listening.port} on 127.0.0.1 is taken by another program`);
  });

  test('answers 500 if a handler throws, and goes on', async () => {
    const errors: unknown[] = [];
    const fail: NodeHandler = () => {
      throw new Error('surprise');
    };
    const listening = await start(fail, { onError: (error) => errors.push(error) });
    const answer = await fetch(`http://127.0.0.1:${listening.port}`);
    expect(answer.status).toBe(500);
    const [headers] = await once(request(h2(listening)), 'response');
    expect(headers[':status']).toBe(500);
    expect(errors).toHaveLength(2);
  });
});

describe('limits', () => {
  test.each([
    ['says nothing', ''],
    ['says less than a protocol', 'PRI * HT'],
  ])('a connection that %s is cut', async (_, bytes) => {
    const listening = await start(echo, { limits: { firstBytesTimeoutMs: 50 } });
    const socket = tcp(listening);
    socket.resume();
    socket.write(bytes);
    await once(socket, 'end');
    await eventually(() => listening.connections() === 0);
  });

  test('a connection that ends before it said anything is gone', async () => {
    const listening = await start(echo);
    const socket = tcp(listening);
    socket.end('PRI');
    socket.resume();
    await once(socket, 'end');
    await eventually(() => listening.connections() === 0);
  });

  test('headers that do not end get 408', async () => {
    const listening = await start(echo, { limits: { headersTimeoutMs: 50, requestTimeoutMs: 100 } });
    const socket = tcp(listening);
    socket.write('GET / HTTP/1.1\r\nHost: a\r\nX: ');
    expect(await text(socket)).toContain('408 Request Timeout');
  });

  test('a body that does not end gets 408', async () => {
    const listening = await start(echo, { limits: { headersTimeoutMs: 50, requestTimeoutMs: 100 } });
    const socket = tcp(listening);
    socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc');
    expect(await text(socket)).toContain('408 Request Timeout');
  });

  test('a body that does not end is reset on h2, but not one of a stream', async () => {
    const listening = await start(echo, { limits: { headersTimeoutMs: 50, requestTimeoutMs: 50 } });
    const session = h2(listening);
    const body = session.request({ ':method': 'POST', 'content-type': 'application/json' });
    const streams = ['application/grpc+proto', 'application/connect+json'].map((type) =>
      session.request({ ':method': 'POST', 'content-type': type }),
    );
    body.write('{');
    body.resume();
    await once(body, 'close');
    expect(body.rstCode).not.toBe(0);
    for (const stream of streams) expect(await text(stream.setEncoding('utf8').end('abc'))).toBe('2.0 3');
  });

  test('a response outlasts the deadlines of its request', async () => {
    const { handler, started, end } = held();
    const limits = { headersTimeoutMs: 40, requestTimeoutMs: 50, keepAliveTimeoutMs: 50 };
    const listening = await start(handler, { limits });
    const answer = await fetch(`http://127.0.0.1:${listening.port}`);
    await started;
    // A request with the same deadlines, begun later, is cut: so the deadlines of the first one are over.
    const later = tcp(listening);
    later.write('GET / HTTP/1.1\r\n');
    await text(later);
    end('end');
    expect(await answer.text()).toBe('begin end');
  });

  test('headers of too many bytes get 431', async () => {
    const listening = await start(echo);
    const socket = tcp(listening);
    socket.write(`GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(17 * 1024)}\r\n\r\n`);
    expect(await text(socket)).toContain('431 Request Header Fields Too Large');
  });

  test('too many headers get 431', async () => {
    const listening = await start(echo, { limits: { maxHeaderCount: 5 } });
    const get = (count: number) => {
      const socket = tcp(listening);
      socket.write(`GET / HTTP/1.1\r\nHost: a\r\n${'X: y\r\n'.repeat(count - 2)}Connection: close\r\n\r\n`);
      return text(socket);
    };
    expect(await get(5)).toContain('200 OK');
    expect(await get(6)).toContain('431 Request Header Fields Too Large');
    expect(await get(50)).toContain('431 Request Header Fields Too Large');
  });

  test('a flood of headers on h2 ends its stream, not the session', async () => {
    const listening = await start(echo);
    const session = h2(listening);
    await once(session, 'remoteSettings');
    for (const flood of [Array.from({ length: 200 }, (_, i) => [`x-${i}`, 'y']), [['x-long', 'x'.repeat(20_000)]]]) {
      const stream = request(session, Object.fromEntries(flood));
      stream.on('error', () => {});
      await eventually(() => stream.closed);
      expect(stream.rstCode).not.toBe(0);
    }
    expect(await text(request(session))).toBe('2.0 0');
  });

  test('a flood of resets ends its session, and the port goes on', { timeout: 30_000 }, async () => {
    const listening = await start(echo);
    const session = h2(listening);
    const goaway = once(session, 'goaway');
    while (!session.destroyed) {
      for (let i = 0; i < 100 && !session.destroyed; i++) {
        const stream = session.request({ ':path': '/' });
        stream.on('error', () => {});
        stream.close(constants.NGHTTP2_CANCEL);
      }
      await new Promise(setImmediate);
    }
    expect((await goaway)[0]).not.toBe(0);
    await eventually(() => listening.connections() === 0);
    expect(await text(request(h2(listening)))).toBe('2.0 0');
  });

  test('more connections than allowed are closed at once', async () => {
    const listening = await start(echo, { limits: { maxConnections: 1 } });
    const first = tcp(listening);
    await eventually(() => listening.connections() === 1);
    const second = tcp(listening);
    second.resume();
    await once(second, 'end');
    first.write(GET);
    expect(String(await once(first, 'data'))).toContain('200 OK');
  });

  test.each([
    ['garbage', '\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n'],
    ['a bad method', 'FETCH / HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['no host', 'GET / HTTP/1.1\r\n\r\n'],
    ['two lengths', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n'],
    ['a bare CR in a header', 'GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n'],
  ])('%s gets 400', async (_, bytes) => {
    const listening = await start(echo);
    const socket = tcp(listening);
    socket.write(bytes, 'latin1');
    expect(await text(socket)).toContain('HTTP/1.1 400 Bad Request');
  });

  test('garbage after the h2 preface ends the connection', async () => {
    const listening = await start(echo);
    const socket = tcp(listening);
    socket.resume();
    socket.write(`${H2_PREFACE}${'garbage'.repeat(100)}`);
    await once(socket, 'end');
    await eventually(() => listening.connections() === 0);
    expect(await text(request(h2(listening)))).toBe('2.0 0');
  });

  test('an h2 client that closes its half has left', async () => {
    const listening = await start(echo);
    const socket = tcp(listening);
    socket.resume();
    socket.write(H2_PREFACE);
    socket.end(EMPTY_SETTINGS_FRAME, 'latin1');
    await once(socket, 'end');
    await eventually(() => listening.connections() === 0);
  });

  test('an h2 session without requests is closed', async () => {
    const listening = await start(echo, { limits: { keepAliveTimeoutMs: 50 } });
    const session = h2(listening);
    expect(await text(request(session))).toBe('2.0 0');
    await once(session, 'close');
    await eventually(() => listening.connections() === 0);
  });

  test('connections that are reset in the middle of anything harm nobody', async () => {
    const { handler } = held();
    const listening = await start(handler);
    for (const bytes of [
      '',
      'PRI',
      'GET / HT',
      GET,
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab',
      H2_PREFACE,
    ]) {
      const socket = tcp(listening);
      socket.write(bytes);
      await eventually(() => listening.connections() === 1);
      socket.resetAndDestroy();
      await eventually(() => listening.connections() === 0);
    }
  });
});

describe('stopping', () => {
  test('lets responses finish, and resolves with the last connection', async () => {
    const [onH1, onH2] = [held(), held()];
    const listening = await start((incoming, response) =>
      (incoming.httpVersion === '1.1' ? onH1 : onH2).handler(incoming, response),
    );
    const answer = await fetch(`http://127.0.0.1:${listening.port}`);
    const session = h2(listening);
    const stream = request(session);
    await Promise.all([onH1.started, onH2.started]);

    let isStopped = false;
    const goaway = once(session, 'goaway');
    const stopped = listening.stopAccepting().then(() => {
      isStopped = true;
    });
    expect((await goaway)[0]).toBe(0);
    await expect(fetch(`http://127.0.0.1:${listening.port}`)).rejects.toThrow();
    expect(isStopped).toBe(false);
    onH1.end('end');
    onH2.end('end');
    expect(await answer.text()).toBe('begin end');
    expect(await text(stream)).toBe('begin end');
    await stopped;
    await eventually(() => listening.connections() === 0);
  });

  test('closes idle connections of every kind', async () => {
    const listening = await start(echo);
    const [silent, idle] = [tcp(listening), tcp(listening)];
    silent.resume();
    idle.write(GET);
    await once(idle, 'data');
    const session = h2(listening);
    await text(request(session));
    expect(listening.connections()).toBe(3);
    await listening.stopAccepting();
    await eventually(() => listening.connections() === 0);
  });

  test('says Connection: close on responses that begin after it', async () => {
    const { promise: arrived, resolve: arrive } = Promise.withResolvers<() => void>();
    const listening = await start((_request, response) => {
      arrive(() => {
        response.writeHead(200);
        response.end('late');
      });
    });
    const socket = tcp(listening);
    socket.write(GET);
    const respond = await arrived;
    const stopped = listening.stopAccepting();
    respond();
    const answer = await text(socket);
    expect(answer.toLowerCase()).toContain('connection: close');
    expect(answer).toContain('late');
    await stopped;
  });

  test('destroy cuts what is left', async () => {
    const { handler, started } = held();
    const listening = await start(handler);
    const socket = tcp(listening);
    socket.write(GET);
    socket.resume();
    await started;
    const stopped = listening.stopAccepting();
    listening.destroy();
    await stopped;
    await eventually(() => socket.readableEnded || socket.destroyed);
  });
});
