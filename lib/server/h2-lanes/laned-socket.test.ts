import { hash } from 'node:crypto';
import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect, type ServerHttp2Stream } from 'node:http2';
import { connect as connectTcp, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterEach, expect, test, vi } from 'vitest';
import type { H2Call } from '../h2-route.ts';
import { type Listening, listen } from '../listen.ts';
import type { Lane } from './lane.ts';
import { askForLanes } from './lanes-testing.ts';

// A real port and Node's own client, whose nghttp2 ends the connection at the first frame that is out of place or more than
// it allowed.

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Answering {
  readonly stream: ServerHttp2Stream;
  readonly lane: Lane | undefined;
}

interface Port {
  readonly listening: Listening;
  /** The calls so far, by their paths: each has its headers, and a lane where there is one to be had. */
  readonly answering: Map<string, Answering>;
}

/** Takes every call with a route. Those to `/plain…` get no lane. */
async function open(): Promise<Port> {
  const answering = new Map<string, Answering>();
  const listening = await listen({
    host: '127.0.0.1',
    port: 0,
    handler: () => {},
    h2Routes: [
      {
        takes: () => true,
        handle({ stream, headers, laneOf }: H2Call) {
          const path = headers[':path'] ?? '';
          const lane = path.startsWith('/plain') ? undefined : laneOf(stream);
          stream.respond({ ':status': 200 });
          answering.set(path, { stream, lane });
        },
      },
    ],
  });
  cleanups.push(async () => {
    listening.destroy();
    await listening.stopAccepting();
  });
  return { listening, answering };
}

function connectTo({ listening }: Port, initialWindowSize?: number): ClientHttp2Session {
  const settings = initialWindowSize === undefined ? {} : { initialWindowSize };
  const session = connect(`http://127.0.0.1:${listening.port}`, { settings });
  session.on('error', () => {});
  askForLanes(session);
  cleanups.push(() => session.destroy());
  return session;
}

async function ask(port: Port, session: ClientHttp2Session, path: string) {
  const stream = session.request({ ':path': path });
  stream.on('error', () => {});
  await once(stream, 'response');
  const answering = port.answering.get(path);
  if (answering === undefined) throw new Error('answered by nobody');
  return { lane: answering.lane, stream };
}

async function askInALane(port: Port, session: ClientHttp2Session, path: string) {
  const { lane, ...asked } = await ask(port, session, path);
  if (lane === undefined) throw new Error('no lane');
  return { lane, ...asked };
}

/** A body as its length and its digest: what differs is told in a line. */
async function received(stream: ClientHttp2Stream): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return told(Buffer.concat(chunks));
}

function told(body: Buffer): string {
  return `${body.length} bytes, ${hash('sha1', body)}`;
}

function noise(length: number, seed: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, n) => (n * 31 + seed * 17 + (n >> 8)) & 0xff));
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

const bodies = fc.array(
  fc.record({
    lane: fc.boolean(),
    chunks: fc.array(fc.oneof(fc.nat(300), fc.nat(40_000), fc.constant(16_384)), { maxLength: 12 }),
  }),
  { minLength: 1, maxLength: 6 },
);

test('whatever is written, in lanes and beside them, arrives whole and in order', async () => {
  await fc.assert(
    fc.asyncProperty(bodies, fc.constantFrom(undefined, 1, 100, 1_000_000), fc.nat(3), async (asked, window, every) => {
      const port = await open();
      const session = connectTo(port, window);
      const calls = await Promise.all(
        asked.map(({ lane }, n) => (lane ? askInALane : ask)(port, session, `/${lane ? 'lane' : 'plain'}/${n}`)),
      );
      const arriving = calls.map(({ stream }) => received(stream));
      const written = asked.map(async ({ chunks }, n) => {
        const { lane, stream } = port.answering.get(`/${asked[n]?.lane ? 'lane' : 'plain'}/${n}`) as Answering;
        const body = chunks.map((length, m) => noise(window === 1 ? length % 50 : length, n + m));
        for (const [m, chunk] of body.entries()) {
          (lane ?? stream).write(chunk);
          if (m % (every + 1) === 0) await turn();
        }
        if (lane === undefined) stream.end();
        else lane.end(() => stream.end());
        return told(Buffer.concat(body));
      });
      expect(await Promise.all(arriving)).toEqual(await Promise.all(written));
      for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
    }),
    { numRuns: 40 },
  );
});

test('asks its writer to pause, and tells it when everything is on its way', async () => {
  const port = await open();
  const { lane, stream } = await askInALane(port, connectTo(port), '/');
  const drained = vi.fn();
  lane.onDrain = drained;
  stream.pause();
  const chunk = noise(10_000, 1);
  expect(lane.write(chunk)).toBe(true);
  expect(lane.write(chunk)).toBe(false);
  expect(lane.waitingBytes).toBe(20_000);
  await vi.waitFor(() => expect(drained).toHaveBeenCalledTimes(1));
  expect(lane.waitingBytes).toBe(0);
});

test('a reader that takes nothing holds back itself alone', async () => {
  const port = await open();
  const session = connectTo(port);
  const [stalled, other] = await Promise.all([askInALane(port, session, '/a'), askInALane(port, session, '/b')]);
  const body = noise(400_000, 2);
  stalled.stream.pause();
  stalled.lane.write(body);
  other.lane.write(body);
  other.lane.end(() => port.answering.get('/b')?.stream.end());
  expect(await received(other.stream)).toBe(told(body));
  expect(stalled.lane.waitingBytes).toBeGreaterThan(200_000);

  const { stream } = port.answering.get('/a') as Answering;
  stalled.lane.end(() => stream.end());
  expect(await received(stalled.stream)).toBe(told(body));
});

test('a window that is made smaller, and larger again, is kept', async () => {
  const port = await open();
  const session = connectTo(port);
  const { lane, stream } = await askInALane(port, session, '/');
  stream.pause();
  const body = noise(300_000, 3);
  lane.write(body);
  await vi.waitFor(() => expect(lane.waitingBytes).toBeLessThan(body.length));
  await new Promise<void>((resolve) => session.settings({ initialWindowSize: 10 }, () => resolve()));
  await new Promise<void>((resolve) => session.settings({ initialWindowSize: 200_000 }, () => resolve()));
  lane.end(() => port.answering.get('/')?.stream.end());
  expect(await received(stream)).toBe(told(body));
});

test.each([
  ['the client resets', (client: ClientHttp2Stream) => client.close()],
  ['the server cuts', (_client: ClientHttp2Stream, server: ServerHttp2Stream) => server.destroy()],
])('a stream that %s is over, and the others go on', async (_what, cut) => {
  const port = await open();
  const session = connectTo(port);
  const [gone, other] = await Promise.all([askInALane(port, session, '/a'), askInALane(port, session, '/b')]);
  gone.stream.pause();
  gone.lane.write(noise(200_000, 4));
  await turn();
  cut(gone.stream, (port.answering.get('/a') as Answering).stream);
  gone.lane.write(noise(1000, 4));
  await vi.waitFor(() => expect(gone.lane.isClosed).toBe(true));
  expect(gone.lane.waitingBytes).toBe(0);
  expect(gone.lane.write(noise(1000, 4))).toBe(true);
  expect(gone.lane.waitingBytes).toBe(0);

  const body = noise(100_000, 5);
  other.lane.write(body);
  other.lane.end(() => port.answering.get('/b')?.stream.end());
  expect(await received(other.stream)).toBe(told(body));
});

test('a port that stops lets what is in lanes arrive, and then closes the connection', async () => {
  const port = await open();
  const session = connectTo(port);
  const { lane, stream } = await askInALane(port, session, '/');
  const stopped = port.listening.stopAccepting();
  const body = noise(200_000, 6);
  lane.write(body);
  await once(session, 'goaway');
  lane.write(body);
  lane.end(() => port.answering.get('/')?.stream.end());
  expect(await received(stream)).toBe(told(Buffer.concat([body, body])));
  await stopped;
});

test('lanes of a connection that is cut are closed', async () => {
  const port = await open();
  const session = connectTo(port);
  const { lane } = await askInALane(port, session, '/');
  session.destroy();
  await vi.waitFor(() => expect(lane.isClosed).toBe(true));
});

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
/** GET / over http, of authority `a`: three entries of HPACK's static table, and a literal. */
const GET_HEADERS = Buffer.from([0x82, 0x86, 0x84, 0x41, 0x01, 0x61]);

function frame(type: number, flags: number, streamId: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(streamId, 5);
  return Buffer.concat([head, payload]);
}

function windowUpdate(streamId: number, bytes: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(bytes);
  return frame(8, 0, streamId, payload);
}

/** A client that asks for lanes and for `/`, and then sends what it is told. */
async function rawClient({ listening }: Port, ...after: Buffer[]): Promise<Socket> {
  const socket = connectTcp(listening.port, '127.0.0.1');
  cleanups.push(() => socket.destroy());
  socket.on('error', () => {}).resume();
  await once(socket, 'connect');
  const settings = frame(4, 0, 0, Buffer.alloc(0));
  const get = frame(1, 0x5, 1, GET_HEADERS);
  socket.write(Buffer.concat([Buffer.from(PREFACE), settings, windowUpdate(0, 2 ** 26), get, ...after]));
  return socket;
}

test('a stream whose window is not known here has no lane', async () => {
  const port = await open();
  await rawClient(port, windowUpdate(1, 100));
  await vi.waitFor(() => expect(port.answering.has('/')).toBe(true));
  expect(port.answering.get('/')?.lane).toBeUndefined();
});

test.each([
  ['a stream', 1],
  ['a connection', 0],
])('who gives %s more window than there can be is cut', async (_what, streamId) => {
  const port = await open();
  const socket = await rawClient(port);
  await vi.waitFor(() => expect(port.answering.get('/')?.lane).toBeDefined());
  const closed = once(socket, 'close');
  socket.write(windowUpdate(streamId, 2 ** 31 - 1));
  await closed;
  expect(port.answering.get('/')?.lane?.isClosed).toBe(true);
});
