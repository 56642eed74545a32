import { create, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Phase, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import type { EntryId } from '#lib/broker/entry-id.ts';
import { Delivery } from './delivery.ts';
import { sseWire } from './sse-wire.ts';

const ID = '1700000000000-3' as EntryId;
const PREV = '1700000000000-2' as EntryId;
const MESSAGE_ID = '70A29BD8-e4b6-4875-a478-76ee24ff4ae9';
const CHANNEL_ID = '97f58c19-ce38-4c6b-8a5b-47f3405691f0';

function deliver(data: Uint8Array): string {
  return new TextDecoder().decode(
    new Delivery({ id: ID, prev: PREV, kind: 'message', seals: false, data }).encodedFor(sseWire),
  );
}

function message(init: { phase?: Phase; sequence?: bigint; payload?: Record<string, never> | object }) {
  const { payload, ...rest } = init;
  return toBinary(
    PublishRequestSchema,
    create(PublishRequestSchema, {
      messageId: MESSAGE_ID,
      channelId: CHANNEL_ID,
      phase: Phase.DELTA,
      ...rest,
      ...(payload === undefined ? {} : { payload: payload as never }),
    }),
  );
}

describe("Conduit's server-sent events", () => {
  test('spell a message as Conduit does, ids in lower case', () => {
    expect(deliver(message({ sequence: 7n, payload: { text: 'hello', n: [1, null, true] } }))).toBe(
      `event: stream\nid: ${ID}\ndata: {"event_type":"stream","message_id":"${MESSAGE_ID.toLowerCase()}",` +
        `"channel_id":"${CHANNEL_ID}","phase":"PHASE_DELTA","sequence":7,` +
        `"payload":{"text":"hello","n":[1,null,true]}}\n\n`,
    );
  });

  test('write a uint64 sequence with all its digits, and null for no payload', () => {
    const text = deliver(message({ phase: Phase.END, sequence: 18446744073709551615n }));
    expect(text).toContain('"phase":"PHASE_END","sequence":18446744073709551615,"payload":null}');
    expect(deliver(message({ payload: {} }))).toContain('"payload":{}}');
  });

  test('let no publisher end a line, whatever it sends', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' })), (payload) => {
        const text = deliver(message({ payload }));
        const lines = text.split(/\r\n|\r|\n/);
        expect(lines).toHaveLength(5);
        expect(JSON.parse(lines[2]?.slice('data: '.length) ?? '').payload).toEqual({ ...payload });
      }),
    );
  });

  test('move the cursor past bytes that are no message, and tell nobody', () => {
    expect(deliver(new Uint8Array([255, 255]))).toBe(`id: ${ID}\n\n`);
    expect(deliver(new Uint8Array())).toBe(`id: ${ID}\n\n`);
  });

  test('tell of controls by the cursor of the reader', () => {
    const gap = new TextDecoder().decode(sseWire.control({ type: 'gap', firstId: ID }, PREV));
    expect(gap).toMatch(
      new RegExp(
        `^event: control\nid: ${PREV}\ndata: {"event_type":"control","message_id":"[0-9a-f-]{36}","control_type":"gap","first_id":"${ID}"}\n\n$`,
      ),
    );
    expect(new TextDecoder().decode(sseWire.control({ type: 'expired' }, undefined))).toContain('\nid: \ndata: ');
  });

  test('encode an entry once, whatever the number of listeners', () => {
    const delivery = new Delivery({ id: ID, prev: PREV, kind: 'message', seals: false, data: message({}) });
    expect(delivery.encodedFor(sseWire)).toBe(delivery.encodedFor(sseWire));
  });
});
