import { once } from 'node:events';
import type { ClientHttp2Stream, ServerHttp2Stream } from 'node:http2';
import fc from 'fast-check';
import { afterEach, expect, test, vi } from 'vitest';
import {
  type Answering,
  ask,
  askInALane,
  cleanUp,
  connectTo,
  noise,
  open,
  rawClient,
  received,
  told,
} from './lanes-testing.ts';

afterEach(cleanUp);

// Against Node's own client, whose nghttp2 ends the connection at the first frame that is out of place or more than it allowed.

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
      await cleanUp();
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

test.each(['/', '/plain'] as const)(
  'who never updates its windows, as they are so large, gets all of %s',
  async (path) => {
    const port = await open();
    const client = await rawClient(port, [], { path, hasAllWindow: true });
    await vi.waitFor(() => expect(port.answering.has(path)).toBe(true));
    const { lane, stream } = port.answering.get(path) as Answering;
    expect(lane === undefined).toBe(path === '/plain');
    const body = noise(4_000_000, 9);
    (lane ?? stream).write(body);
    await vi.waitFor(() => expect(client.bytesRead).toBeGreaterThan(body.length), 10_000);
  },
);
