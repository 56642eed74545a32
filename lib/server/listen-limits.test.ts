import { once } from 'node:events';
import { constants } from 'node:http2';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import {
  EMPTY_SETTINGS_FRAME,
  echo,
  eventually,
  GET,
  H2_PREFACE,
  h2,
  held,
  request,
  start,
  tcp,
} from './listen-testing.ts';

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
