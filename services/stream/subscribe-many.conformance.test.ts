import { create, fromBinary, fromJsonString, toBinary, toJsonString } from '@bufbuild/protobuf';
import { encodeEnvelope } from '@connectrpc/connect/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ControlType, Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import {
  SubscribeManyRequestSchema,
  type SubscribeManyResponse,
  SubscribeManyResponseSchema,
} from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { channelKey } from '#lib/broker/broker.ts';
import { createMemoryBroker } from '#lib/broker/memory-broker.ts';
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
import { type BothWays, callRaw, framesOf, ORG_ID, type RawAnswer, type RawCall } from './subscribe-testing.ts';

// Every frame is what the generated code makes of what it says, and connect-node would have said the same. How many
// cursors there are, and how channels mix, is a matter of time.

const SUBSCRIBE_MANY = '/tideway.stream.v1.StreamService/SubscribeMany';

function callOf(format: Format, token: string, channelIds: string[], cursor = ''): RawCall {
  const message = create(SubscribeManyRequestSchema, { orgId: ORG_ID, channelIds, cursor });
  return { ...callWith(format, token, SubscribeManyRequestSchema, message), path: SUBSCRIBE_MANY };
}

/** Reads a frame, and makes sure that the generated code would have written it. */
function decode(frame: Buffer, json: boolean): SubscribeManyResponse {
  const data = frame.subarray(5);
  const response = json
    ? fromJsonString(SubscribeManyResponseSchema, data.toString())
    : fromBinary(SubscribeManyResponseSchema, data);
  const again = json
    ? new TextEncoder().encode(toJsonString(SubscribeManyResponseSchema, response))
    : toBinary(SubscribeManyResponseSchema, response);
  expect(frame.toString('latin1')).toBe(Buffer.from(encodeEnvelope(0, again)).toString('latin1'));
  return response;
}

/** Where it stands in all channels depends on how they mix. */
function withoutCursor(response: SubscribeManyResponse, frame: Buffer): Buffer {
  const { channelId, event, cursor } = response;
  if (cursor === undefined) return frame;
  return Buffer.from(toBinary(SubscribeManyResponseSchema, create(SubscribeManyResponseSchema, { channelId, event })));
}

/** What an answer says, channel by channel, without heartbeats; how it ends; and its last cursor. */
function said(answer: RawAnswer, { contentType }: Format) {
  const { status, body, trailers } = answer;
  const frames = framesOf(body);
  const channels: Record<string, string[]> = {};
  let cursor: string | undefined;
  let last: string | undefined;
  for (const frame of frames.filter((whole) => whole[0] === 0)) {
    const response = decode(frame, contentType.endsWith('json'));
    last = response.cursor === undefined ? 'event' : 'cursor';
    cursor = response.cursor ?? cursor;
    const { channelId, event } = response;
    if (event.case === 'message' && response.cursor !== undefined) last = 'both';
    if (event.case === undefined || (event.case === 'control' && event.value.type === ControlType.HEARTBEAT)) continue;
    const list = channels[channelId] ?? [];
    channels[channelId] = list;
    list.push(withoutCursor(response, frame).toString('latin1'));
  }
  const ends = frames.filter((whole) => whole[0] !== 0).map((frame) => frame.toString('latin1'));
  return { status, headers: ownHeaders(answer), channels, cursor, last, ends, trailers };
}

async function same({ ours, theirs }: BothWays, format: Format, call: RawCall) {
  const [our, their] = await Promise.all([callRaw(ours, call), callRaw(theirs, call)]);
  expect(said(our, format)).toEqual(said(their, format));
  return said(our, format);
}

const messages = fc.array(fc.record({ channel: fc.nat(3), init: anyMessage }), { maxLength: 12 });

describe.each(FORMATS)('$name', (format) => {
  test('random messages of several channels, replayed and live', async () => {
    const broker = createMemoryBroker();
    const both = await start(broker);
    await fc.assert(
      fc.asyncProperty(messages, messages, async (before, after) => {
        const ids = Array.from({ length: 4 }, () => crypto.randomUUID());
        const call = callOf(format, await both.token(ids), ids);
        for (const { channel, init } of before) await publish(broker, ids[channel] ?? '', init);
        const asking = same(both, format, call);
        for (const { channel, init } of after) await publish(broker, ids[channel] ?? '', init);
        for (const id of ids) await publish(broker, id, { phase: Phase.END });
        const live = await asking;
        const replayed = await same(both, format, call);
        expect(replayed).toEqual(live);
        expect(replayed).toMatchObject({ status: 200, last: 'cursor' });
        expect(Object.values(replayed.channels).flat()).toHaveLength(before.length + after.length + 4);
        // Nothing at all after the end.
        const nothing = await same(both, format, callOf(format, await both.token(ids), ids, replayed.cursor));
        expect(nothing).toMatchObject({ status: 200, channels: {} });
      }),
      { numRuns: 10 },
    );
  });

  test('text that coalesces, live and replayed', async () => {
    const broker = createMemoryBroker();
    const both = await start(broker);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ channel: fc.nat(2), text: unicode }), { minLength: 5, maxLength: 30 }),
        async (texts) => {
          const ids = Array.from({ length: 3 }, () => crypto.randomUUID());
          const call = callOf(format, await both.token(ids), ids);
          for (const [n, id] of ids.entries()) {
            await publish(broker, id, { phase: Phase.START, ...(n === 0 ? {} : { coalesceWindowMs: 5 }) });
          }
          const { onBody, heard } = bothHeard();
          const asking = same(both, format, { ...call, onBody });
          await heard;
          for (const { channel, text } of texts) {
            await publish(broker, ids[channel] ?? '', { payload: { text } });
            if (text.length % 4 === 0) await new Promise(setImmediate);
          }
          for (const id of ids) await publish(broker, id, { phase: Phase.END });
          for (const { channels, last } of [await asking, await same(both, format, call)]) {
            expect(last).toBe('cursor');
            // Where it does not coalesce there are as many as were published.
            expect(channels[ids[0] ?? '']).toHaveLength(2 + texts.filter(({ channel }) => channel === 0).length);
            const joined = texts.length - texts.filter(({ channel }) => channel === 0).length;
            expect([ids[1], ids[2]].flatMap((id) => channels[id ?? '']).length).toBeLessThanOrEqual(4 + joined);
          }
        },
      ),
      { numRuns: 8 },
    );
  });

  test('controls, bytes that are no message, and a lost producer', async () => {
    let nowMs = 1_000_000;
    const broker = createMemoryBroker({ retention: { maxEntries: 3, minAgeMs: 0 }, now: () => nowMs++ });
    const both = await start(broker);
    const [gap = '', garbled = '', lost = ''] = Array.from({ length: 3 }, () => crypto.randomUUID());
    const ids = [gap, garbled, lost];
    for (let n = 0; n < 9; n++) await publish(broker, gap);
    const garbage = { messageId: crypto.randomUUID(), phase: Phase.DELTA, sequence: 0n, data: new Uint8Array([255]) };
    await broker.publish(channelKey(ORG_ID, garbled), garbage, { name: 'unary', perSec: 0 });
    await publish(broker, lost);
    await broker.endIdle(0, 10);
    const { channels, cursor } = await same(both, format, callOf(format, await both.token(ids), ids));
    expect(Object.keys(channels).sort()).toEqual([...ids].sort());
    expect(cursor).toHaveLength(1 + 3 * 24);
    // The gap and what is retained; only that its producer is lost; its message and the same.
    expect([channels[garbled]?.length, channels[lost]?.length]).toEqual([1, 2]);
  });

  test('refusals, and a server that drains', async () => {
    const both = await start();
    const ids = [crypto.randomUUID(), crypto.randomUUID()];
    const token = await both.token(ids);
    const refused = [
      callOf(format, 'nonsense', ids),
      callOf(format, token, [...ids, crypto.randomUUID()]),
      callOf(format, token, []),
      callOf(format, token, ['x']),
      callOf(format, token, [ids[0] ?? '', (ids[0] ?? '').toUpperCase()]),
      callOf(
        format,
        token,
        Array.from({ length: 51 }, () => crypto.randomUUID()),
      ),
      callOf(format, token, ids, 'x'),
      callOf(format, token, ids, '1-0'),
      callOf(format, token, ids, 'A'.repeat(2049)),
      { ...callOf(format, token, ids), body: encodeEnvelope(0, new Uint8Array([0xff, 0xff])) },
      { ...callOf(format, token, ids), body: new Uint8Array() },
    ];
    for (const call of refused) await same(both, format, call);
    const { onBody, heard } = bothHeard();
    const asking = same(both, format, { ...callOf(format, token, ids), onBody });
    await heard;
    await both.drain();
    expect(Object.keys((await asking).channels)).toEqual(['']);
    await same(both, format, callOf(format, token, ids));
  });

  test('no room, and a broker that is away', async () => {
    const ids = [crypto.randomUUID(), crypto.randomUUID()];
    const full = await start(createMemoryBroker(), { maxListeners: 0 });
    await same(full, format, callOf(format, await full.token(ids), ids));
    const broker = createMemoryBroker();
    const both = await start(broker);
    await broker.close();
    await same(both, format, callOf(format, await both.token(ids), ids));
  });
});
