import { create, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Phase, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import type { Entry } from '#lib/broker/broker.ts';
import type { EntryId } from '#lib/broker/entry-id.ts';
import { Delivery } from './delivery.ts';
import { binaryFrameWire, jsonFrameWire } from './frame-wire.ts';
import { sseWire } from './sse-wire.ts';
import { MAX_JOINED_TEXT_BYTES, together } from './together.ts';

const CHANNEL_ID = '97f58c19-ce38-4c6b-8a5b-47f3405691f0';

interface Init {
  readonly payload?: object;
  readonly phase?: Phase;
  readonly coalesceMs?: number | undefined;
  readonly data?: Uint8Array;
}

/** Entries that follow each other. */
function deliveries(inits: readonly Init[]): Delivery[] {
  return inits.map(({ payload, phase = Phase.DELTA, coalesceMs, data }, n) => {
    const message = create(PublishRequestSchema, {
      channelId: CHANNEL_ID,
      messageId: crypto.randomUUID(),
      phase,
      sequence: BigInt(n),
      ...(payload === undefined ? {} : { payload: payload as never }),
    });
    const entry: Entry = {
      id: `${n + 1}-0` as EntryId,
      prev: `${n}-0` as EntryId,
      kind: 'message',
      seals: phase === Phase.END,
      data: data ?? toBinary(PublishRequestSchema, message),
      coalesceMs,
    };
    return new Delivery(entry);
  });
}

const text = (value: string, field = 'text'): Init => ({ payload: { [field]: value }, coalesceMs: 50 });
const other: Init = { payload: { text: 'x', n: 1 } };

/** The messages within, whatever the writes. */
function messagesOf(made: readonly Delivery[]): Delivery[] {
  return made.flatMap((delivery) => delivery.steps ?? [delivery]);
}

test('text deltas that follow each other with the same field are one message, at the place of the last', () => {
  const given = deliveries([text('a'), text('b'), other, text('c'), text('d', 'thought'), text('e', 'thought')]);
  const [write, ...more] = together(given);
  expect(more).toEqual([]);
  expect(write?.entry.id).toBe('6-0');
  const made = messagesOf([write as Delivery]);
  expect(made.map(({ message }) => message?.payload)).toEqual([
    { text: 'ab' },
    { text: 'x', n: 1 },
    { text: 'c' },
    { thought: 'de' },
  ]);
  expect(made.map(({ entry }) => [entry.prev, entry.id])).toEqual([
    ['0-0', '2-0'],
    ['2-0', '3-0'],
    ['3-0', '4-0'],
    ['4-0', '6-0'],
  ]);
  const last = given.at(-1)?.message;
  expect(made.at(-1)?.message).toEqual({ ...last, payload: { thought: 'de' } });
  // What stands by itself is what it was.
  expect(made[2]).toBe(given[3]);
});

test('a single one is what it was, and what does not coalesce is joined to nothing', () => {
  const single = deliveries([text('a')]);
  expect(together(single)).toEqual(single);
  const plain = deliveries([{ payload: { text: 'a' } }, { payload: { text: 'b' } }]);
  const [write] = together(plain);
  expect([write?.steps, write?.isText]).toEqual([undefined, false]);
  expect(decoder.decode(write?.encodedFor(sseWire)).match(/"text":"."/g)).toEqual(['"text":"a"', '"text":"b"']);
});

const decoder = new TextDecoder();

describe('whatever is published', () => {
  const inits = fc.array(
    fc.oneof(
      { weight: 6, arbitrary: fc.string({ unit: 'grapheme', maxLength: 20 }).map((value) => text(value)) },
      { weight: 2, arbitrary: fc.string({ unit: 'binary', maxLength: 20 }).map((value) => text(value, 'thought')) },
      fc.constant(other),
      fc.constant({ phase: Phase.ERROR, payload: { text: 'no' } }),
      // What is no message says nothing, also where somebody says that it coalesces.
      fc.constant({ data: new Uint8Array([255]), coalesceMs: 50 }),
      fc.constant({ payload: { text: 'x' }, phase: Phase.ERROR, coalesceMs: 50 }),
      fc.constant({ payload: {}, coalesceMs: 50 }),
      fc.constant({ payload: { text: 7 }, coalesceMs: 50 }),
    ),
    { maxLength: 40 },
  );

  test('the text is the same byte by byte, everything else too, and all in order', () => {
    fc.assert(
      fc.property(inits, (all) => {
        const given = deliveries(all);
        const writes = together(given);
        if (!given.some(({ isText }) => isText)) {
          // Nothing to be joined: one write, which is not taken apart any more.
          const bytesOf = (list: readonly Delivery[]) =>
            list.map((delivery) => decoder.decode(delivery.encodedFor(sseWire)));
          expect(bytesOf(writes).join('')).toBe(bytesOf(given).join(''));
          return;
        }
        const made = messagesOf(writes);
        const said = (list: readonly Delivery[]) => {
          const things: unknown[] = [];
          for (const { message, isText } of list) {
            const [field, ...fields] = Object.keys(message?.payload ?? {});
            const value = message?.payload?.[field ?? ''];
            if (!isText || message?.phase !== Phase.DELTA || fields.length > 0 || typeof value !== 'string') {
              things.push(message);
              continue;
            }
            const before = things.at(-1);
            if (Array.isArray(before) && before[0] === field) before[1] += value;
            else things.push([field, value]);
          }
          return things;
        };
        expect(said(made)).toEqual(said(given));
        // The chain holds, and nobody stands where nothing was.
        made.forEach(({ entry }, n) => {
          expect(entry.prev).toBe(made[n - 1]?.entry.id ?? '0-0');
        });
        // Two texts that could be joined never follow each other.
        for (let n = 1; n < made.length; n++) {
          const [before, after] = [made[n - 1], made[n]].map((delivery) => {
            const { message, isText } = delivery as Delivery;
            const keys = Object.keys(message?.payload ?? {});
            const isDelta = isText && message?.phase === Phase.DELTA && keys.length === 1;
            return isDelta && typeof message.payload?.[keys[0] ?? ''] === 'string' ? keys[0] : undefined;
          });
          expect(before !== undefined && before === after).toBe(false);
        }
      }),
    );
  });
});

test('a joined message is bounded, and so is a write', () => {
  const large = 'ä'.repeat(MAX_JOINED_TEXT_BYTES / 8);
  const writes = together(deliveries(Array.from({ length: 10 }, () => text(large))));
  const made = messagesOf(writes);
  expect(made.map(({ message }) => Buffer.byteLength(String(message?.payload?.['text'])))).toEqual([
    MAX_JOINED_TEXT_BYTES,
    MAX_JOINED_TEXT_BYTES,
    MAX_JOINED_TEXT_BYTES / 2,
  ]);
  expect(writes).toHaveLength(3);
});

test.each([
  ['SSE', sseWire],
  ['binary', binaryFrameWire],
  ['JSON', jsonFrameWire],
])('a joined message is encoded once: %s', (_, wire) => {
  const [joined] = together(deliveries([text('a'), text('b')]));
  expect(joined?.encodedFor(wire)).toBe(joined?.encodedFor(wire));
  expect(joined?.isText).toBe(true);
});
