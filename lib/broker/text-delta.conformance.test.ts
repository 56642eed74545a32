import { create, fromBinary, type JsonObject, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Phase, type PublishRequest, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import { coalesceWindowMs, findTextDelta, MAX_NAME_BYTES } from './text-delta.ts';

const RUNS = 5_000;

const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 60 }),
  fc.string({ unit: 'binary', maxLength: 80 }).map((made) => made.toWellFormed()),
  fc.constantFrom('', '__proto__', 'a'.repeat(127), 'a'.repeat(128), '波'.repeat(6000)),
);
const payload = fc.oneof(
  { weight: 3, arbitrary: fc.tuple(text, text).map(([name, value]): JsonObject => field(name, value)) },
  fc.constantFrom<JsonObject[]>({}, { a: 'b', c: 'd' }, { a: null }, { a: 1 }, { a: { b: 'c' } }, { a: ['b'] }),
  fc.dictionary(text, fc.oneof(text, fc.boolean(), fc.integer()), { maxKeys: 3, noNullPrototype: true }),
);
const messages = fc
  .record(
    {
      channelId: fc.uuid(),
      messageId: fc.uuid(),
      phase: fc.constantFrom(Phase.UNSPECIFIED, Phase.START, Phase.DELTA, Phase.DELTA, Phase.END, Phase.ERROR),
      sequence: fc.oneof(fc.bigInt(0n, 300n), fc.bigInt(0n, 2n ** 64n - 1n)),
      orgId: fc.oneof(fc.bigInt(0n, 300n), fc.bigInt(0n, 2n ** 64n - 1n)),
      payload,
      clientTimestamp: fc.integer({ min: 0, max: 4_000_000_000_000 }).map((ms) => timestampFromMs(ms)),
      // The contract's rules refuse what is above 10,000; so far above is not read at all.
      coalesceWindowMs: fc.oneof(fc.integer({ min: 0, max: 10_001 }), fc.integer({ min: 0, max: 2 ** 21 - 1 })),
    },
    { requiredKeys: ['channelId', 'messageId', 'phase'] },
  )
  .map((fields) => toBinary(PublishRequestSchema, create(PublishRequestSchema, fields)));

/** Computed, so that `__proto__` is a name as any other. */
function field(name: string, value: string): JsonObject {
  return { [name]: value };
}

function textOf({ phase, payload }: PublishRequest): [name: string, text: string] | undefined {
  const fields = Object.entries(payload ?? {});
  const [name, value] = fields[0] ?? [];
  if (phase !== Phase.DELTA || fields.length !== 1 || name === undefined) return undefined;
  return typeof value === 'string' && Buffer.byteLength(name) <= MAX_NAME_BYTES ? [name, value] : undefined;
}

function windowOf({ phase, coalesceWindowMs = 0 }: PublishRequest): number | undefined {
  return phase === Phase.START && coalesceWindowMs >= 1 && coalesceWindowMs <= 10_000 ? coalesceWindowMs : undefined;
}

function found(data: Uint8Array): [name: string, text: string] | undefined {
  const delta = findTextDelta(data);
  if (!delta) return undefined;
  const at = (start: number, end: number) => Buffer.from(data.subarray(start, end)).toString();
  return [at(delta.nameStart, delta.nameEnd), at(delta.textStart, delta.textEnd)];
}

describe('text deltas and windows', () => {
  test('of what the generated code encodes, the generated code says the same', async () => {
    const property = fc.property(messages, (data) => {
      const message = fromBinary(PublishRequestSchema, data);
      expect(found(data)).toEqual(textOf(message));
      expect(coalesceWindowMs(data)).toBe(windowOf(message));
    });
    await fc.assert(property, { numRuns: RUNS });
  });

  test('of what was damaged, joined or cut off, what is found is what the generated code finds', async () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255), fc.nat(3)), { maxLength: 3 });
    const property = fc.property(messages, damage, fc.option(messages), (sound, damages, more) => {
      const bytes = [...sound, ...(more ?? [])];
      for (const [place, byte, remove] of damages) bytes.splice(place % (bytes.length + 1), remove, byte);
      const data = Uint8Array.from(bytes);
      const [delta, windowMs] = [found(data), coalesceWindowMs(data)];
      if (delta === undefined && windowMs === undefined) return;
      let message: PublishRequest;
      try {
        message = fromBinary(PublishRequestSchema, data);
      } catch {
        // Of strings that are not UTF-8 alone: publishing refused it.
        return;
      }
      if (delta !== undefined) expect(delta).toEqual(textOf(message));
      if (windowMs !== undefined) expect(windowMs).toBe(windowOf(message));
    });
    await fc.assert(property, { numRuns: RUNS });
  });

  test('what the generated code reads on behind the end of a broken timestamp is no text delta', () => {
    const payload = toBinary(
      PublishRequestSchema,
      create(PublishRequestSchema, { phase: Phase.DELTA, payload: { text: 'Hel' } }),
    );
    // Within the timestamp the tag of eight bytes, of which it has six.
    const timestamp = Buffer.from([0x1a, 0x09, 0x08, 0x00, 0x09, 0, 0, 0, 0, 0, 0]);
    expect(found(Buffer.concat([timestamp, payload]))).toBeUndefined();
  });

  test('the position is right within a view of a larger buffer', () => {
    const data = toBinary(
      PublishRequestSchema,
      create(PublishRequestSchema, { phase: Phase.DELTA, payload: { text: 'Hel' } }),
    );
    const inside = Buffer.concat([Buffer.alloc(7, 0xff), data, Buffer.alloc(7, 0xff)]).subarray(7, 7 + data.length);
    expect(found(inside)).toEqual(['text', 'Hel']);
  });
});
