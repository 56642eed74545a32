import { once } from 'node:events';
import fc from 'fast-check';
import { afterEach, expect, test, vi } from 'vitest';
import { MAX_WINDOW_BYTES } from './frames.ts';
import { type Answering, cleanUp, noise, open, type Port, told } from './lanes-testing.ts';
import { StrictClient } from './strict-client-testing.ts';

afterEach(cleanUp);

// Against a client that counts as strictly as it may, and does what Node's own never does.

/** The latest call there is, once its client has asked. */
async function answered(port: Port, client: StrictClient): Promise<Answering & { readonly id: number }> {
  port.answering.delete('/');
  const id = client.get();
  await vi.waitFor(() => expect(port.answering.has('/')).toBe(true), { interval: 1, timeout: 10_000 });
  return { ...(port.answering.get('/') as Answering), id };
}

test('who gives streams no window but what they are told of one by one hears of their end', async () => {
  const port = await open();
  const client = await StrictClient.connect(port, { initialWindowBytes: 0 });
  const { stream, lane, id } = await answered(port, client);
  const body = noise(1000, 1);
  (lane ?? stream).write(body);
  client.give(id, 1000);
  await vi.waitFor(() => expect(told(client.bodyOf(id))).toBe(told(body)), 10_000);
  if (lane === undefined) stream.end();
  else lane.end(() => stream.end());
  // A client of nghttp2 gives it back, a byte at least.
  client.give(id, 1000);
  await vi.waitFor(() => expect(client.streams.get(id)?.isOver).toBe(true), 10_000);
  expect(client.faults).toEqual([]);
});

test('a stream whose window is taken away ends', async () => {
  const port = await open();
  const client = await StrictClient.connect(port);
  const { stream, lane, id } = await answered(port, client);
  const body = noise(1000, 1);
  lane?.write(body);
  await vi.waitFor(() => expect(told(client.bodyOf(id))).toBe(told(body)), 10_000);
  client.set({ initialWindowBytes: 0 });
  await vi.waitFor(() => expect(client.unacknowledged).toBe(0), 10_000);
  lane?.end(() => stream.end());
  await vi.waitFor(() => expect(client.streams.get(id)?.isOver).toBe(true), 10_000);
  expect(client.faults).toEqual([]);
});

test('more window and larger frames count from their acknowledgement', async () => {
  const port = await open();
  const client = await StrictClient.connect(port, { initialWindowBytes: 1_000_000 });
  const large = await answered(port, client);
  const { lane, stream, id } = await answered(port, client);
  client.give(large.id, 20_000_000);
  client.give(id, 0xffff);
  client.socket.pause();
  // More than the system takes: what nghttp2 has to say waits behind it.
  large.lane?.write(noise(16_000_000, 2));
  const body = noise(3_000_000, 3);
  lane?.write(body);
  for (let n = 0; n < 10; n++) {
    client.ping();
    await new Promise((resolve) => setImmediate(resolve));
  }
  client.set({ initialWindowBytes: 2_000_000, maxFrameBytes: 100_000 });
  client.set({ initialWindowBytes: 3_000_000 });
  await new Promise((resolve) => setTimeout(resolve, 20));
  client.socket.resume();
  await vi.waitFor(() => expect(lane?.waitingBytes).toBe(0), 10_000);
  lane?.end(() => stream.end());
  await vi.waitFor(() => expect(client.streams.get(id)?.isOver).toBe(true), 10_000);
  expect(client.faults).toEqual([]);
  expect(told(client.bodyOf(id))).toBe(told(body));
});

test('who sets more window than there can be is cut', async () => {
  const port = await open();
  const client = await StrictClient.connect(port);
  const { lane, id } = await answered(port, client);
  client.give(id, 2 ** 30);
  client.set({ initialWindowBytes: MAX_WINDOW_BYTES });
  await once(client.socket, 'close');
  expect(lane?.isClosed).toBe(true);
});

const some = fc.nat(5);
const steps = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constant('write'), n: some, bytes: fc.oneof(fc.nat(300), fc.nat(90_000)) }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('get', 'turn', 'turn', 'pause', 'resume', 'ping') }) },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant('give'), n: some, bytes: fc.integer({ min: 1, max: 100_000 }) }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('end', 'reset'), n: some }) },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('set'),
        initialWindowBytes: fc.constantFrom(1, 100, 65_535, 300_000),
        maxFrameBytes: fc.constantFrom(16_384, 16_385, 200_000),
      }),
    },
  ),
  { maxLength: 60 },
);

interface Call extends Answering {
  readonly id: number;
  readonly written: Buffer[];
  isEnded: boolean;
  isReset: boolean;
}

function end(call: Call): void {
  const { lane, stream, isEnded } = call;
  call.isEnded = true;
  if (isEnded) return;
  if (lane === undefined) stream.end();
  else lane.end(() => stream.end());
}

test('whatever is set, given, taken away and reset, it never sends more than it may, and all of it', async () => {
  await fc.assert(
    fc.asyncProperty(steps, fc.constantFrom(0, 1, 65_535), async (taken, initialWindowBytes) => {
      const port = await open();
      const client = await StrictClient.connect(port, { initialWindowBytes });
      const calls: Call[] = [];
      const ask = async () => {
        client.socket.resume();
        calls.push({ ...(await answered(port, client)), written: [], isEnded: false, isReset: false });
      };
      await ask();
      for (const step of taken) {
        const call = 'n' in step ? calls[step.n % calls.length] : undefined;
        if (step.do === 'get' && calls.length < 6) await ask();
        else if (step.do === 'turn') await new Promise((resolve) => setImmediate(resolve));
        else if (step.do === 'pause') client.socket.pause();
        else if (step.do === 'resume') client.socket.resume();
        else if (step.do === 'ping') client.ping();
        else if ('maxFrameBytes' in step) client.set(step);
        else if (call === undefined) continue;
        else if (step.do === 'end') end(call);
        else if (step.do === 'reset') {
          call.isReset = true;
          client.reset(call.id);
        } else if ('bytes' in step && step.do === 'give') client.give(call.id, step.bytes);
        else if ('bytes' in step && !call.isEnded && !call.isReset) {
          const chunk = noise(step.bytes, call.written.length);
          call.written.push(chunk);
          (call.lane ?? call.stream).write(chunk);
        }
      }
      client.socket.resume();
      for (const call of calls) end(call);
      for (const { id } of calls) client.give(id, 10_000_000);
      for (const { id, isReset, written, lane } of calls) {
        if (isReset) await vi.waitFor(() => expect(lane?.isClosed ?? true).toBe(true), 10_000);
        else await vi.waitFor(() => expect(client.streams.get(id)?.isOver).toBe(true), 10_000);
        if (!isReset) expect(told(client.bodyOf(id))).toBe(told(Buffer.concat(written)));
      }
      expect(client.faults).toEqual([]);
      await cleanUp();
    }),
    { numRuns: 30 },
  );
}, 60_000);
