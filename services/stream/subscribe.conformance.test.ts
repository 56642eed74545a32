import { create, fromBinary, toBinary, toJsonString } from '@bufbuild/protobuf';
import { encodeEnvelope } from '@connectrpc/connect/protocol';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ControlType, type Message, Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import {
  StreamService,
  SubscribeRequestSchema,
  SubscribeResponseSchema,
} from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { channelKey } from '#lib/broker/broker.ts';
import { createMemoryBroker } from '#lib/broker/memory-broker.ts';
import { listen } from '#lib/server/listen.ts';
import type { NodeHandler } from '#lib/server/node-handler.ts';
import { refusalInterceptor } from '#lib/server/rpc.ts';
import {
  anyMessage,
  bothHeard,
  callOf as callWith,
  FORMATS,
  type Format,
  ownHeaders,
  publish,
  startBothWays as start,
  unicode,
} from './conformance-testing.ts';
import { ResponseSink } from './response-sink.ts';
import { HEARTBEAT } from './responses.ts';
import { rpcFaces } from './rpc-face.ts';
import { RpcSink } from './rpc-sink.ts';
import {
  type BothWays,
  callRaw,
  framesOf,
  ORG_ID,
  type RawAnswer,
  type RawCall,
  SUBSCRIBE,
} from './subscribe-testing.ts';

// What a listener receives is what connect-node would have sent it: every answer is asked for twice, of the same listeners
// behind our handlers and behind connect-node, and compared byte for byte.

interface Asked {
  readonly orgId?: bigint;
  readonly channelId: string;
  readonly lastEventId?: string;
}

function callOf(
  format: Format,
  token: string | undefined,
  asked: Asked,
  headers: Record<string, string> = {},
): RawCall {
  return callWith(
    format,
    token,
    SubscribeRequestSchema,
    create(SubscribeRequestSchema, { orgId: ORG_ID, ...asked }),
    headers,
  );
}

const heartbeats = [
  encodeEnvelope(0, toBinary(SubscribeResponseSchema, HEARTBEAT)),
  encodeEnvelope(0, new TextEncoder().encode(toJsonString(SubscribeResponseSchema, HEARTBEAT))),
].map((frame) => Buffer.from(frame).toString('latin1'));

/** An answer as text that tells everything but when heartbeats came, and how the bytes were cut into packets. */
function written(answer: RawAnswer) {
  const { status, body, trailers } = answer;
  const frames = framesOf(body).map((frame) => frame.toString('latin1'));
  return {
    status,
    headers: ownHeaders(answer),
    frames: frames.filter((frame) => !heartbeats.includes(frame)),
    trailers,
  };
}

/** Asks both, and holds one against the other. */
async function same({ ours, theirs }: BothWays, call: RawCall) {
  const [our, their] = await Promise.all([callRaw(ours, call), callRaw(theirs, call)]);
  expect(written(our)).toEqual(written(their));
  return written(our);
}

const messages = fc.array(anyMessage, { maxLength: 12 });

describe.each(FORMATS)('$name', (format) => {
  test('random messages, replayed and live, are what the generated code and connect-node make of them', async () => {
    const broker = createMemoryBroker();
    const both = await start(broker);
    await fc.assert(
      fc.asyncProperty(messages, messages, async (before, after) => {
        const channelId = crypto.randomUUID();
        const call = callOf(format, await both.token(channelId), { channelId });
        const published = [];
        for (const init of before) published.push(await publish(broker, channelId.toUpperCase(), init));
        // Live once the history is there, or a sign of life.
        let listening = 0;
        const live = Promise.withResolvers<void>();
        let heard = false;
        const onBody = (body: Buffer) => {
          if (heard || framesOf(body).length < before.length) return;
          listening++;
          if (listening >= 2) live.resolve();
        };
        const asking = before.length === 0 ? undefined : same(both, { ...call, onBody });
        if (asking !== undefined) await live.promise;
        heard = true;
        for (const init of after) published.push(await publish(broker, channelId, init));
        published.push(await publish(broker, channelId, { phase: Phase.END, sequence: 2n ** 64n - 1n }));
        for (const answer of [await asking, await same(both, call)]) {
          if (answer === undefined) continue;
          expect(answer.status).toBe(200);
          if (format.contentType.endsWith('json')) continue;
          const events = answer.frames
            .slice(0, published.length)
            .map((frame) => fromBinary(SubscribeResponseSchema, Buffer.from(frame, 'latin1').subarray(5)).event.value);
          expect(events).toMatchObject(
            published.map(({ messageId, phase, sequence }) => ({
              messageId: messageId.toLowerCase(),
              channelId,
              phase,
              sequence,
            })),
          );
        }
      }),
      { numRuns: 15 },
    );
  });

  test('text that coalesces, live and replayed', async () => {
    const broker = createMemoryBroker();
    const both = await start(broker);
    await fc.assert(
      fc.asyncProperty(fc.array(unicode, { minLength: 2, maxLength: 30 }), async (texts) => {
        const channelId = crypto.randomUUID();
        const call = callOf(format, await both.token(channelId), { channelId });
        await publish(broker, channelId, { phase: Phase.START, coalesceWindowMs: 5 });
        const { onBody, heard: live } = bothHeard();
        const asking = same(both, { ...call, onBody });
        await live;
        for (const text of texts) {
          await publish(broker, channelId, { payload: { text } });
          if (text.length % 4 === 0) await new Promise(setImmediate);
        }
        await publish(broker, channelId, { phase: Phase.END });
        for (const answer of [await asking, await same(both, call)]) {
          expect(answer.frames.length).toBeLessThan(texts.length + 3);
          if (format.contentType.endsWith('json')) continue;
          const heard = answer.frames
            .filter((frame) => frame.charCodeAt(0) === 0)
            .map((frame) => fromBinary(SubscribeResponseSchema, Buffer.from(frame, 'latin1').subarray(5)).event);
          const said = heard.map(({ value }) => (value as Message).payload?.['text'] ?? '');
          expect(said.join('')).toBe(texts.join(''));
        }
      }),
      { numRuns: 8 },
    );
  });

  test('controls, bytes that are no message, a lost producer, and the end of a stream', async () => {
    let nowMs = 1_000_000;
    const broker = createMemoryBroker({ retention: { maxEntries: 3, minAgeMs: 0 }, now: () => nowMs++ });
    const both = await start(broker);
    const channelId = crypto.randomUUID();
    const channel = channelKey(ORG_ID, channelId);
    const call = async (lastEventId?: string) =>
      callOf(format, await both.token(channelId), { channelId, ...(lastEventId ? { lastEventId } : {}) });
    for (let n = 0; n < 9; n++) await publish(broker, channelId, {});
    const garbage = { messageId: crypto.randomUUID(), phase: Phase.DELTA, sequence: 0n, data: new Uint8Array([255]) };
    await broker.publish(channel, garbage, { name: 'unary', perSec: 0 });
    await broker.endIdle(0, 10);
    const { entries } = await broker.read(channel, '0-0' as never, 100);
    const all = await same(both, await call());
    // The gap, what is retained, and where the protocol has one, a frame for the end.
    expect(all.frames.length).toBeGreaterThanOrEqual(1 + entries.length);
    await same(both, await call('1-1'));
    await same(both, await call(entries[0]?.id));
    // Reset, and nothing at all after the end.
    await same(both, await call('99999999999999-0'));
    await same(both, await call(entries.at(-1)?.id));
    nowMs += 3_600_000;
    // Expired.
    await same(both, await call(entries[0]?.id));
  });

  test('a server that drains', async () => {
    const both = await start();
    const channelId = crypto.randomUUID();
    const { onBody, heard } = bothHeard();
    const asking = same(both, { ...callOf(format, await both.token(channelId), { channelId }), onBody });
    await heard;
    await both.drain();
    const draining = format.contentType.endsWith('json')
      ? 'CONTROL_TYPE_SERVER_DRAINING'
      : String.fromCharCode(8, ControlType.SERVER_DRAINING);
    expect((await asking).frames[0]).toContain(draining);
    // From now on it refuses, with what to do.
    const refused = await same(both, callOf(format, await both.token(channelId), { channelId }));
    expect(JSON.stringify(refused)).toContain('draining');
  });

  test('every refusal', async () => {
    const both = await start();
    const channelId = crypto.randomUUID();
    const token = await both.token(channelId);
    const refusals = [
      callOf(format, undefined, { channelId }),
      callOf(format, 'nonsense', { channelId }),
      callOf(format, undefined, { channelId }, { authorization: 'Basic x' }),
      callOf(format, token, { channelId: crypto.randomUUID() }),
      callOf(format, token, { channelId, orgId: 2n }),
      callOf(format, token, { channelId: 'x', orgId: 0n }),
      callOf(format, token, { channelId: '' }),
      callOf(format, token, { channelId, lastEventId: 'é' }),
      callOf(format, token, { channelId, lastEventId: '18446744073709551616' }),
    ];
    for (const call of refusals) await same(both, call);
  });

  test('no room, and a broker that is away', async () => {
    const channelId = crypto.randomUUID();
    const full = await start(createMemoryBroker(), { maxListeners: 0 });
    await same(full, callOf(format, await full.token(channelId), { channelId }));
    const broker = createMemoryBroker();
    const both = await start(broker);
    await broker.close();
    const answer = await same(both, callOf(format, await both.token(channelId), { channelId }));
    expect(JSON.stringify(answer)).toMatch(/Broker(?: |%20)away/);
  });

  test('deadlines', async () => {
    const both = await start();
    const channelId = crypto.randomUUID();
    const token = await both.token(channelId);
    const [name, values] = format.contentType.includes('connect')
      ? (['connect-timeout-ms', ['300', 'x', '99999999999']] as const)
      : (['grpc-timeout', ['300m', '1', '123456789S']] as const);
    const [timedOut, ...wrong] = values.map((value) => callOf(format, token, { channelId }, { [name]: value }));
    expect(JSON.stringify(await same(both, timedOut as RawCall))).toMatch(/timed(?: |%20)out/);
    for (const call of wrong) expect(JSON.stringify(await same(both, call))).toMatch(/invalid/);
  });

  test('what is not ordinary is left to connect-node', async () => {
    const broker = createMemoryBroker();
    const both = await start(broker);
    const channelId = crypto.randomUUID();
    await publish(broker, channelId, { phase: Phase.END });
    const call = callOf(format, await both.token(channelId), { channelId });
    const encoding = format.contentType.includes('connect') ? 'connect-content-encoding' : 'grpc-encoding';
    const bodies = [
      new Uint8Array(),
      call.body.subarray(0, 3),
      call.body.subarray(0, -1),
      Buffer.concat([call.body, call.body]),
      Buffer.concat([call.body, Buffer.from([0])]),
      encodeEnvelope(1, call.body.subarray(5)),
      encodeEnvelope(2, call.body.subarray(5)),
      encodeEnvelope(0x80, call.body.subarray(5)),
      encodeEnvelope(0, new Uint8Array([0xff, 0xff])),
      encodeEnvelope(0, new Uint8Array(100_000)),
      encodeEnvelope(0, new Uint8Array()),
    ];
    for (const body of bodies) await same(both, { ...call, body });
    await same(both, { ...call, headers: { ...call.headers, [encoding]: 'gzip' } });
    await same(both, { ...call, headers: { ...call.headers, [encoding]: 'unheard-of' } });
    await same(both, { ...call, headers: { ...call.headers, [encoding]: 'identity' } });
    await same(both, { ...call, method: 'PUT' });
    await same(both, { ...call, path: `${SUBSCRIBE}?x=1` });
    for (const contentType of [
      'application/json',
      'application/grpc-web-text',
      'application/grpc+json',
      'text/plain',
    ]) {
      await same(both, { ...call, headers: { ...call.headers, 'content-type': contentType } });
    }
  });

  test('compressed answers, which every listener may do without, are the one difference', async () => {
    const broker = createMemoryBroker();
    const both = await start(broker);
    const channelId = crypto.randomUUID();
    await publish(broker, channelId, { phase: Phase.END, payload: { text: 'x'.repeat(10_000) } });
    const [accepts, encoding] = format.contentType.includes('connect')
      ? ['connect-accept-encoding', 'connect-content-encoding']
      : ['grpc-accept-encoding', 'grpc-encoding'];
    const call = callOf(format, await both.token(channelId), { channelId }, { [accepts as string]: 'gzip' });
    const [our, their] = await Promise.all([callRaw(both.ours, call), callRaw(both.theirs, call)]);
    expect(their.headers[encoding as string]).toBe('gzip');
    expect(our.headers).not.toHaveProperty(encoding as string);
    expect([our.body[0], their.body[0]]).toEqual([0, 1]);
  });

  test('an end that comes later', async () => {
    const face = rpcFaces.get(format.contentType);
    if (face === undefined) throw new Error('a format without a face');
    for (const reason of ['unavailable', 'too_slow'] as const) {
      const [ours, theirs] = await Promise.all([serve(endingOurs(reason)), serve(endingTheirs(reason))]);
      const channelId = crypto.randomUUID();
      const answer = await same({ ours, theirs } as BothWays, callOf(format, undefined, { channelId }));
      expect(JSON.stringify(answer)).toMatch(reason === 'unavailable' ? /Broker(?: |%20)away/ : /reads(?: |%20)too/);
    }
  });
});

async function serve(handler: NodeHandler): Promise<number> {
  const listening = await listen({ host: '127.0.0.1', port: 0, handler });
  onTestFinished(() => listening.destroy());
  return listening.port;
}

function endingOurs(reason: 'unavailable' | 'too_slow'): NodeHandler {
  return (request, response) => {
    const face = rpcFaces.get(String(request.headers['content-type']));
    if (face === undefined) throw new Error('no face');
    const sink = new ResponseSink(response, face);
    request.resume();
    sink.write(sink.wire.heartbeat);
    sink.fail(reason);
  };
}

function endingTheirs(reason: 'unavailable' | 'too_slow'): NodeHandler {
  return connectNodeAdapter({
    interceptors: [refusalInterceptor(() => {})],
    routes: (router) =>
      router.rpc(StreamService.method.subscribe, async function* (_, { signal }) {
        const sink = new RpcSink(signal);
        yield HEARTBEAT;
        sink.fail(reason);
        yield* sink.responses();
      }),
  });
}
