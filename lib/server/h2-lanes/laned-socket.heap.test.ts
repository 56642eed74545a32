import type { Socket } from 'node:net';
import { queryObjects } from 'node:v8';
import { afterEach, expect, test, vi } from 'vitest';
import { collectGarbage } from '../../../test/support/heap.ts';
import type { H2Call } from '../h2-route.ts';
import type { ListenLimits } from '../limits.ts';
import { Lane } from './lane.ts';
import { LanedSocket } from './laned-socket.ts';
import { cleanUp, noise, open, takeCalls } from './lanes-testing.ts';
import { StrictClient } from './strict-client-testing.ts';

afterEach(cleanUp);

// What is held for a client that does not read, or has gone.

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Takes every call, and leaves it as it is. */
async function taking(limits: Partial<ListenLimits> = {}) {
  const calls: H2Call[] = [];
  const listening = await takeCalls((call) => void calls.push(call), limits);
  return { listening, calls };
}

function begin({ stream, laneOf }: H2Call): Lane {
  const lane = laneOf(stream);
  if (lane === undefined) throw new Error('no lane');
  stream.respond({ ':status': 200 });
  return lane;
}

test('what waits for a client that reads nothing takes about as much as it is, however small it comes', async () => {
  const { listening, calls } = await taking();
  const client = await StrictClient.connect({ listening, answering: new Map() }, { initialWindowBytes: 2 ** 26 });
  client.get();
  await vi.waitFor(() => expect(calls).toHaveLength(1), 10_000);
  const lane = begin(calls[0] as H2Call);
  await turn();
  client.socket.pause();
  collectGarbage();
  const before = process.memoryUsage().arrayBuffers;
  const chunk = noise(500, 1);
  // Until the system takes no more, and Node neither.
  for (let since = 0; since < 5; since = lane.waitingBytes > 0 ? since + 1 : 0) {
    lane.write(chunk);
    await turn();
    await turn();
  }
  collectGarbage();
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(512 * 1024);
}, 30_000);

test('a stream that was reset before it had a lane leaves nothing', async () => {
  const { listening, calls } = await taking();
  const client = await StrictClient.connect({ listening, answering: new Map() }, { initialWindowBytes: 2 ** 26 });
  client.get();
  const reset = client.get();
  await vi.waitFor(() => expect(calls).toHaveLength(2), 10_000);
  const [first, second] = calls as [H2Call, H2Call];
  const lane = begin(first);
  client.socket.pause();
  const chunk = noise(1_000_000, 1);
  for (let n = 0; n < 16; n++) lane.write(chunk);
  await new Promise((resolve) => setTimeout(resolve, 50));
  // Its answer waits behind all that, and nghttp2 reads nothing until it has gone.
  client.ping();
  await new Promise((resolve) => setTimeout(resolve, 50));
  client.reset(reset);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const late = begin(second);
  late.write(noise(1000, 1));
  client.socket.resume();
  await vi.waitFor(() => expect(late.isClosed).toBe(true), 10_000);
});

test('lanes that are over leave nothing while their connection has no window', async () => {
  const port = await open();
  const client = await StrictClient.connect(port, { initialWindowBytes: 2 ** 26 });
  const answered = async () => {
    port.answering.delete('/');
    const id = client.get();
    await vi.waitFor(() => expect(client.streams.get(id)?.hasHeaders).toBe(true), { interval: 1, timeout: 10_000 });
    const lane = port.answering.get('/')?.lane;
    if (lane === undefined) throw new Error('no lane');
    return { id, lane };
  };
  const { id, lane } = await answered();
  const stream = client.streams.get(id);
  // What comes is not kept.
  if (stream !== undefined) stream.isReset = true;
  const chunk = noise(2 ** 20, 1);
  for (let n = 0; n < 64; n++) lane.write(chunk);
  await vi.waitFor(() => expect(stream?.windowBytes).toBeLessThan(2 * 2 ** 20), 10_000);
  for (let n = 0; n < 20; n++) {
    const { id: gone, lane: over } = await answered();
    over.write(noise(100, n));
    client.reset(gone);
    await vi.waitFor(() => expect(over.isClosed).toBe(true), { interval: 1, timeout: 10_000 });
  }
  port.answering.clear();
  expect(queryObjects(Lane)).toBeLessThan(5);
}, 30_000);

test.each([
  ['ends', (socket: Socket) => void socket.end()],
  ['is reset', (socket: Socket) => void socket.resetAndDestroy()],
  ['ends in the middle of a frame', (socket: Socket) => void socket.end(Buffer.from('000004080000', 'hex'))],
  ['makes an error', (socket: Socket) => void socket.write(Buffer.alloc(100, 'garbage'))],
  ['reads nothing, and makes an error', (socket: Socket) => void socket.pause().write(Buffer.alloc(100, 'garbage'))],
])('a connection that %s leaves nothing', async (_what, leave) => {
  const { listening, calls } = await taking({ keepAliveTimeoutMs: 200 });
  for (let n = 0; n < 10; n++) {
    const client = await StrictClient.connect({ listening, answering: new Map() });
    client.get();
    await vi.waitFor(() => expect(calls).toHaveLength(1), 10_000);
    const lane = begin(calls.pop() as H2Call);
    leave(client.socket);
    for (let m = 0; m < 20; m++) lane.write(noise(10_000, m));
  }
  await vi.waitFor(() => expect(listening.connections()).toBe(0), 10_000);
  await vi.waitFor(() => expect(queryObjects(LanedSocket)).toBeLessThan(5), 10_000);
});
