import fc from 'fast-check';
import { afterEach, expect, test, vi } from 'vitest';
import { cleanUp, noise, takeCalls, told } from '#lib/server/h2-lanes/lanes-testing.ts';
import { StrictClient } from '#lib/server/h2-lanes/strict-client-testing.ts';
import type { ByteSink } from './byte-sink.ts';
import { type RpcFace, rpcFaces } from './rpc-face.ts';
import { sseFace } from './sse-face.ts';
import { StreamSink } from './stream-sink.ts';

afterEach(cleanUp);

const grpc = rpcFaces.get('application/grpc') as RpcFace;

/** Listeners that share a connection, and so their writes. */
async function listenersOf(faces: readonly (typeof sseFace)[]) {
  const sinks: ByteSink[] = [];
  const listening = await takeCalls((call) => void sinks.push(new StreamSink(call, faces[sinks.length] ?? sseFace)));
  const client = await StrictClient.connect({ listening, answering: new Map() });
  const ids = faces.map(() => client.get());
  await vi.waitFor(() => expect(sinks).toHaveLength(faces.length), { interval: 1, timeout: 10_000 });
  return { client, listeners: sinks.map((sink, n) => ({ sink, id: ids[n] as number, written: [] as Buffer[] })) };
}

const listener = fc.nat(3);
const steps = fc.array(
  fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({ do: fc.constant('write'), n: listener, bytes: fc.oneof(fc.nat(300), fc.nat(60_000)) }),
    },
    { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('turn', 'pause', 'resume', 'ping'), n: listener }) },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant('give'), n: listener, bytes: fc.integer({ min: 1, max: 99_999 }) }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constantFrom('end', 'unavailable', 'too_slow', 'reset'), n: listener }),
    },
  ),
  { maxLength: 60 },
);

test('however listeners of a connection are written to, end, are cut or go: each has its own, whole or from its beginning', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (taken) => {
      const { client, listeners } = await listenersOf([grpc, grpc, sseFace, grpc]);
      const how = new Map<number, string>();
      for (const step of taken) {
        const of = listeners[step.n];
        if (of === undefined) throw new Error(`no listener ${step.n}`);
        const { sink, id, written } = of;
        if (step.do === 'turn') await new Promise((resolve) => setImmediate(resolve));
        else if (step.do === 'pause') client.socket.pause();
        else if (step.do === 'resume') client.socket.resume();
        else if (step.do === 'ping') client.ping();
        else if (how.has(step.n)) continue;
        else if ('bytes' in step && step.do === 'give') client.give(id, step.bytes);
        else if ('bytes' in step) {
          const chunk = noise(step.bytes, written.length);
          written.push(chunk);
          sink.write(chunk);
        } else {
          how.set(step.n, step.do);
          if (step.do === 'end') sink.end();
          else if (step.do === 'reset') client.reset(id);
          else sink.fail(step.do as 'unavailable' | 'too_slow');
        }
      }
      client.socket.resume();
      for (const [n, { sink, id, written }] of listeners.entries()) {
        if (!how.has(n)) sink.end();
        const is = how.get(n) ?? 'end';
        const all = Buffer.concat(written);
        // SSE has no word for it: its stream is reset.
        const isCut = is === 'too_slow' && n === 2;
        if (is !== 'reset' && !isCut) {
          client.give(id, 10_000_000);
          await vi.waitFor(() => expect(client.streams.get(id)?.isOver).toBe(true), { interval: 2, timeout: 10_000 });
        } else await vi.waitFor(() => expect(sink.isGone).toBe(true), { interval: 2, timeout: 10_000 });
        const body = client.bodyOf(id);
        const isWhole = is === 'end' || (is === 'unavailable' && n !== 2);
        expect(told(isWhole ? body : body.subarray(0, all.length))).toBe(
          told(isWhole ? all : all.subarray(0, body.length)),
        );
        if (is === 'unavailable') expect(body.length).toBeGreaterThanOrEqual(all.length);
      }
      const cuts = client.faults.filter((fault) => fault !== 'a frame of type 3');
      expect(cuts).toEqual([]);
      expect(client.faults.length).toBeLessThanOrEqual(how.get(2) === 'too_slow' ? 1 : 0);
      await cleanUp();
    }),
    { numRuns: 60 },
  );
}, 60_000);

test.each([
  ['in a lane', true],
  ['without one', false],
])('a stream %s whose window is used up to the byte ends, and is not reset', async (_what, inLane) => {
  const sinks: ByteSink[] = [];
  const listening = await takeCalls((call) => {
    sinks.push(new StreamSink(inLane ? call : { stream: call.stream, laneOf: () => undefined }, sseFace));
  });
  const client = await StrictClient.connect({ listening, answering: new Map() }, { initialWindowBytes: 1000 });
  const id = client.get();
  await vi.waitFor(() => expect(sinks).toHaveLength(1), 10_000);
  sinks[0]?.write(noise(1000, 1));
  await vi.waitFor(() => expect(client.bodyOf(id)).toHaveLength(1000), 10_000);
  sinks[0]?.end();
  // Its end has come to nghttp2 before there is window again.
  await new Promise((resolve) => setTimeout(resolve, 50));
  client.give(id, 1000);
  await vi.waitFor(() => expect(client.streams.get(id)?.isOver).toBe(true), 10_000);
  expect(client.faults).toEqual([]);
});
