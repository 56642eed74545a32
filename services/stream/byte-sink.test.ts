import { once } from 'node:events';
import { connect as connectH2 } from 'node:http2';
import { connect } from 'node:net';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { EntryId } from '#lib/broker/entry-id.ts';
import { askForLanes } from '#lib/server/h2-lanes/lanes-testing.ts';
import { listen } from '#lib/server/listen.ts';
import type { ByteSink } from './byte-sink.ts';
import { ResponseSink } from './response-sink.ts';
import { type RpcFace, rpcFaces } from './rpc-face.ts';
import { sseFace } from './sse-face.ts';
import { StreamSink } from './stream-sink.ts';

const cleanups: (() => unknown)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

/** Answers every request with the opening, two controls and the end; says the wire's slot it used. */
async function serve() {
  const slots: number[] = [];
  const listening = await listen({
    host: '127.0.0.1',
    port: 0,
    handler: (_request, response) => {
      const sink = new ResponseSink(response, sseFace);
      slots.push(sink.wire.slot);
      if (sink.wire.opening !== undefined) sink.write(sink.wire.opening);
      sink.write(sink.wire.control({ type: 'expired' }, '1-0' as EntryId));
      sink.write(sink.wire.heartbeat);
      sink.end();
    },
  });
  cleanups.push(
    () => listening.destroy(),
    () => listening.stopAccepting(),
  );
  return { port: listening.port, slots };
}

function raw(port: number, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(request));
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      answer += text;
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(answer));
  });
}

const EVENTS = /^retry: 500\n\nevent: control\nid: 1-0\ndata: \{.*\}\n\n:\n\n$/;

test("HTTP/1.1 gets chunks that Node's own client reads", async () => {
  const { port, slots } = await serve();
  const response = await fetch(`http://127.0.0.1:${port}/`);
  expect(response.headers.get('content-type')).toBe('text/event-stream');
  expect(await response.text()).toMatch(EVENTS);
  expect(slots).toEqual([2]);
});

test('HTTP/1.0 gets the bytes as they are', async () => {
  const { port } = await serve();
  const answer = await raw(port, 'GET / HTTP/1.0\r\n\r\n');
  expect(answer.slice(answer.indexOf('\r\n\r\n') + 4)).toMatch(EVENTS);
});

test('pipelined requests are answered one after the other, each whole', async () => {
  const { port } = await serve();
  const answer = await raw(
    port,
    'GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
  );
  const bodies = answer.split('HTTP/1.1 200 OK').slice(1);
  expect(bodies).toHaveLength(2);
  for (const body of bodies) {
    expect(body.match(/retry: 500/g)).toHaveLength(1);
    expect(body.endsWith('0\r\n\r\n')).toBe(true);
  }
});

describe.each([
  ['a response', { onStream: false, inLane: false }],
  ['a stream', { onStream: true, inLane: false }],
  ['a stream in a lane', { onStream: true, inLane: true }],
])('a reader that takes nothing of %s', (_what, answered) => {
  const grpc = rpcFaces.get('application/grpc');
  if (grpc === undefined) throw new Error('no gRPC');
  const chunk = new Uint8Array(16 * 1024);

  /** Starts one gRPC answer, of which the client reads nothing yet. */
  async function stalled({ onStream, inLane }: typeof answered) {
    const sinks: ByteSink[] = [];
    const listening = await listen({
      host: '127.0.0.1',
      port: 0,
      handler: (_request, response) => void sinks.push(new ResponseSink(response, grpc as RpcFace)),
      h2Routes: [{ takes: () => onStream, handle: (call) => void sinks.push(new StreamSink(call, grpc as RpcFace)) }],
    });
    const session = connectH2(`http://127.0.0.1:${listening.port}`);
    if (inLane) askForLanes(session);
    cleanups.push(
      () => listening.destroy(),
      () => session.destroy(),
    );
    const stream = session.request({ ':method': 'POST', ':path': '/', te: 'trailers' });
    await vi.waitFor(() => expect(sinks).toHaveLength(1), 10_000);
    const trailers = once(stream, 'trailers');
    const read = async () => {
      let bytes = 0;
      for await (const part of stream) bytes += (part as Buffer).byteLength;
      return { bytes, status: ((await trailers)[0] as Record<string, unknown>)['grpc-status'] };
    };
    return { sink: sinks[0] as ByteSink, read };
  }

  test('has what it does not take wait, and gets all of it in order once it reads', async () => {
    const { sink, read } = await stalled(answered);
    let drained = 0;
    sink.onDrain = () => drained++;
    for (let n = 0; n < 64; n++) sink.write(chunk);
    expect(sink.write(chunk)).toBe(false);
    expect(sink.waitingBytes).toBeGreaterThan(512 * 1024);
    const reading = read();
    await vi.waitFor(() => expect(drained).toBe(1), 10_000);
    expect(sink.waitingBytes).toBeLessThan(chunk.byteLength);
    sink.end();
    expect(await reading).toEqual({ bytes: 65 * chunk.byteLength, status: '0' });
  });

  test('is told why it is cut, and the rest is dropped', async () => {
    const { sink, read } = await stalled(answered);
    for (let n = 0; n < 64; n++) sink.write(chunk);
    sink.fail('too_slow');
    const { bytes, status } = await read();
    expect(bytes).toBeLessThan(16 * chunk.byteLength);
    expect(status).toBe('8');
  });

  test('still gets what waits when its stream ends', async () => {
    const { sink, read } = await stalled(answered);
    for (let n = 0; n < 64; n++) sink.write(chunk);
    sink.end();
    expect(await read()).toEqual({ bytes: 64 * chunk.byteLength, status: '0' });
  });
});
