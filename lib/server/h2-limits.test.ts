import { once } from 'node:events';
import { constants } from 'node:http2';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import type { H2Route } from './h2-route.ts';
import { EMPTY_SETTINGS_FRAME, echo, eventually, H2_PREFACE, h2, held, request, start, tcp } from './listen-testing.ts';
import type { NodeHandler } from './node-handler.ts';

// What a client of h2 may leave undone, and for how long.

test('a session that had a long response is closed once it is idle, too', async () => {
  const { handler, started, end } = held();
  const listening = await start(handler, { limits: { keepAliveTimeoutMs: 50 } });
  const session = h2(listening);
  const answer = text(request(session));
  await started;
  // One that came later and does nothing is closed: the time is over for this one, too.
  await once(h2(listening), 'close');
  end('end');
  expect(await answer).toBe('begin end');
  await eventually(() => listening.connections() === 0);
});

test.each([
  ['is idle', []],
  ['has made an error', ['garbage'.repeat(100)]],
])('a client that %s and does not close its half is cut', async (_, sent) => {
  const listening = await start(echo, { limits: { keepAliveTimeoutMs: 50 } });
  const socket = tcp(listening);
  socket.resume();
  socket.write([H2_PREFACE, EMPTY_SETTINGS_FRAME, ...sent].join(''), 'latin1');
  await once(socket, 'end');
  await eventually(() => listening.connections() === 0);
});

test('a port stops while a client has still to close its half', async () => {
  const listening = await start(echo, { limits: { keepAliveTimeoutMs: 50 } });
  const socket = tcp(listening);
  socket.resume();
  socket.write(`${H2_PREFACE}${EMPTY_SETTINGS_FRAME}`, 'latin1');
  await once(socket, 'end');
  const stopped = listening.stopAccepting();
  socket.end();
  await stopped;
});

const passing: H2Route = { takes: () => true, handle: ({ pass }) => pass() };
const refusing: H2Route = {
  takes: () => true,
  handle: ({ stream }) => stream.resume().respond({ ':status': 401 }, { endStream: true }),
};
const refuse: NodeHandler = (incoming, response) => {
  incoming.resume();
  response.statusCode = 401;
  response.end();
};

test.each([
  ['a route has passed on', 'application/json', echo, [passing]],
  ['a route has refused while it was read', 'application/json', echo, [refusing]],
  ['is a stream of gRPC, refused while it was read', 'application/grpc+proto', refuse, []],
] as const)('a body that does not end of a request that %s is reset', async (_, type, handler, h2Routes) => {
  const limits = { headersTimeoutMs: 50, requestTimeoutMs: 50 };
  const listening = await start(handler, { limits, h2Routes });
  const session = h2(listening);
  const stream = session.request({ ':method': 'POST', 'content-type': type });
  stream.on('error', () => {});
  stream.write('{');
  stream.resume();
  await once(stream, 'close');
  expect(stream.rstCode).toBe(constants.NGHTTP2_CANCEL);
});
