import { once } from 'node:events';
import fc from 'fast-check';
import { afterEach, expect, test, vi } from 'vitest';
import { encodeFrame, windowUpdate } from './frames.ts';
import { askInALane, cleanUp, connectTo, noise, open, rawClient, received, told } from './lanes-testing.ts';

afterEach(cleanUp);

test('a stream whose window is not known here has no lane', async () => {
  const port = await open();
  await rawClient(port, [windowUpdate(1, 100)]);
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

const anyFrames = fc.array(
  fc.record({
    type: fc.oneof(fc.nat(10), fc.nat(255)),
    flags: fc.nat(255),
    streamId: fc.oneof(fc.constantFrom(0, 1, 3, 5), fc.nat(2 ** 31 - 1)),
    payload: fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.constant(Uint8Array.from([0x7f, 0xff, 0xff, 0xff]))),
  }),
  { minLength: 1, maxLength: 12 },
);

test('whatever a client sends once it has a lane, the process and its other clients go on', async () => {
  const port = await open();
  const session = connectTo(port);
  const other = await askInALane(port, session, '/other');
  const got = received(other.stream);
  await fc.assert(
    fc.asyncProperty(anyFrames, fc.nat(200), async (sent, rest) => {
      port.answering.delete('/');
      const socket = await rawClient(port);
      await vi.waitFor(() => expect(port.answering.get('/')?.lane).toBeDefined(), { interval: 1 });
      const lane = port.answering.get('/')?.lane;
      lane?.write(noise(100_000, 7));
      const frames = sent.map(({ type, flags, streamId, payload }) =>
        encodeFrame(type, flags, streamId, Buffer.from(payload)),
      );
      // It ends wherever, also within a frame.
      const all = Buffer.concat(frames);
      socket.end(all.subarray(0, Math.max(1, all.length - rest)));
      await vi.waitFor(() => expect(lane?.isClosed).toBe(true), { interval: 1 });
    }),
    { numRuns: 120 },
  );
  const body = noise(200_000, 8);
  other.lane.write(body);
  other.lane.end(() => port.answering.get('/other')?.stream.end());
  expect(await got).toBe(told(body));
});
