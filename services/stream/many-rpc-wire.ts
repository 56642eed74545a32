import { create, type MessageInitShape, toBinary, toJsonString } from '@bufbuild/protobuf';
import { encodeEnvelope } from '@connectrpc/connect/protocol';
import { ControlType } from '#gen/tideway/stream/v1/message_pb.ts';
import { type SubscribeManyResponse, SubscribeManyResponseSchema } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { FRAME_HEAD_BYTES } from '#lib/server/rpc-frames.ts';
import type { CompositeCursor } from './composite-cursor.ts';
import type { ControlNotice, Delivery } from './delivery.ts';
import { type ManySpelling, type ManyWire, manyWires } from './many-wire.ts';
import { controlFor, messageFor } from './responses.ts';
import { makeRpcFaces } from './rpc-face.ts';
import { chunk, joinChunks, type RpcChunk } from './rpc-wire.ts';

const encoder = new TextEncoder();
const NOTHING = new Uint8Array();
/** Of the field `cursor`, whose value is a string. */
const CURSOR_TAG = (SubscribeManyResponseSchema.field.cursor.number << 3) | 2;

const HEARTBEAT = response({ event: { case: 'control', value: { type: ControlType.HEARTBEAT } } });

/**
 * SubscribeMany's responses in frames. The generated code encodes all but cursors, which are made for each listener and
 * write; the test beside this compares those with what it would have made.
 */
export const manyRpcFaces = makeRpcFaces({
  binary: manyWires(
    frames(8, {
      encode: (made) => toBinary(SubscribeManyResponseSchema, made),
      cursorStart: (length) => Uint8Array.from([CURSOR_TAG, ...varint(length)]),
      cursorEnd: NOTHING,
      body: (message) => message,
      fieldStart: (length) => Uint8Array.from([CURSOR_TAG, ...varint(length)]),
    }),
  ),
  json: manyWires(
    frames(9, {
      encode: (made) => encoder.encode(toJsonString(SubscribeManyResponseSchema, made)),
      cursorStart: () => encoder.encode('{"cursor":"'),
      cursorEnd: encoder.encode('"}'),
      body: (message) => message.subarray(0, -1),
      fieldStart: () => encoder.encode(',"cursor":"'),
    }),
  ),
});

/** The same for connect-node to encode: for the calls that no byte-written face takes. */
export const manyRpcWire: ManyWire<RpcChunk<SubscribeManyResponse>> = {
  slot: 10,
  opening: undefined,
  heartbeat: chunk(HEARTBEAT, 0),
  goodbye: () => undefined,
  entry(delivery) {
    const made = entryResponse(delivery);
    return made === undefined ? { responses: [], sizeBytes: 0 } : chunk(made, delivery.sizeBytes);
  },
  channelControl: (notice, channelId) => chunk(controlResponse(notice, channelId), 0),
  control: (notice) => chunk(controlResponse(notice), 0),
  join: joinChunks,
  sizeOf: ({ sizeBytes }) => sizeBytes,
  withCursor: ({ responses, sizeBytes }, cursor) => [
    {
      responses: responses.map(({ channelId, event }) => response({ channelId, event, cursor: cursor.toString() })),
      sizeBytes: sizeBytes + cursor.bytes.byteLength,
    },
  ],
  together: (chunks, cursor) =>
    joinChunks(cursor === undefined ? chunks : [...chunks, chunk(cursorResponse(cursor), cursor.bytes.byteLength)]),
};

interface Codec {
  encode(made: SubscribeManyResponse): Uint8Array;
  /** A message with a cursor of this length and nothing else: what stands before it, and behind it. */
  cursorStart(length: number): Uint8Array;
  readonly cursorEnd: Uint8Array;
  /** A message as it begins that has a cursor as well, and what then stands before that; behind it is the same. */
  body(message: Uint8Array): Uint8Array;
  fieldStart(length: number): Uint8Array;
}

function frames(slot: number, { encode, cursorStart, cursorEnd, body, fieldStart }: Codec): ManySpelling {
  const frame = (made: SubscribeManyResponse) => encodeEnvelope(0, encode(made));
  // As many as there are lengths of cursors: one for each number of channels.
  const heads = new Map<number, Uint8Array>();
  return {
    slot,
    opening: undefined,
    heartbeat: frame(HEARTBEAT),
    goodbye: () => undefined,
    entry(delivery) {
      const made = entryResponse(delivery);
      return made === undefined ? NOTHING : frame(made);
    },
    control: (notice, channelId) => frame(controlResponse(notice, channelId)),
    cursorHead(length) {
      const known = heads.get(length);
      if (known !== undefined) return known;
      const start = cursorStart(length);
      const made = Buffer.concat([new Uint8Array(FRAME_HEAD_BYTES), start]);
      made.writeUInt32BE(start.byteLength + length + cursorEnd.byteLength, 1);
      heads.set(length, made);
      return made;
    },
    cursorEnd,
    carrying(entry, length) {
      const message = body(entry.subarray(FRAME_HEAD_BYTES));
      const field = fieldStart(length);
      const head = Buffer.alloc(FRAME_HEAD_BYTES);
      head.writeUInt32BE(message.byteLength + field.byteLength + length + cursorEnd.byteLength, 1);
      return { before: [head, message, field], after: cursorEnd };
    },
  };
}

function entryResponse({ message }: Delivery): SubscribeManyResponse | undefined {
  if (message === undefined) return undefined;
  const value = messageFor(message);
  return response({ channelId: value.channelId ?? '', event: { case: 'message', value } });
}

function controlResponse(notice: ControlNotice, channelId = ''): SubscribeManyResponse {
  return response({ channelId, event: { case: 'control', value: controlFor(notice) } });
}

function cursorResponse(cursor: CompositeCursor): SubscribeManyResponse {
  return response({ cursor: cursor.toString() });
}

function response(init: MessageInitShape<typeof SubscribeManyResponseSchema>): SubscribeManyResponse {
  return create(SubscribeManyResponseSchema, init);
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varint(value >>> 7)];
}
