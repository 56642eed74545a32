import { create, type JsonObject, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import * as fc from 'fast-check';
import { Phase, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';

// Random messages, for the tests of whatever reads an encoded one in place.

const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 60 }),
  fc.string({ unit: 'binary', maxLength: 80 }).map((made) => made.toWellFormed()),
  fc.constantFrom(
    '',
    '__proto__',
    '1',
    '10',
    '01',
    'n',
    'a"\\b',
    '\u2028',
    '\ufeffx',
    'a'.repeat(200),
    '波'.repeat(40),
  ),
);
const payload = fc.letrec<{ value: JsonObject[string]; object: JsonObject }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.constantFrom(null, true, false, 0, -0, 5e-324, Number.MAX_VALUE, -1.5),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    text,
    fc.array(tie('value'), { maxLength: 4 }),
    tie('object'),
  ),
  object: fc.dictionary(text, tie('value'), { maxKeys: 4, noNullPrototype: true }),
})).object;

const uuid = fc.oneof(
  fc.uuid(),
  fc.uuid().map((made) => made.toUpperCase()),
);
/** A message as clients send it: nothing about it is rare but what it says. */
export const usual = fc.record({
  channelId: uuid,
  messageId: uuid,
  phase: fc.constantFrom(Phase.START, Phase.DELTA, Phase.END, Phase.ERROR),
  sequence: fc.bigInt(0n, 2n ** 49n - 1n),
  orgId: fc.bigInt(0n, 2n ** 49n - 1n),
  payload: fc.option(payload, { nil: undefined }),
  clientTimestamp: fc.option(
    fc.integer({ min: 0, max: 4_000_000_000_000 }).map((ms) => timestampFromMs(ms)),
    { nil: undefined },
  ),
});

export type MessageFields = Omit<typeof usual extends fc.Arbitrary<infer T> ? T : never, 'phase'> & { phase: Phase };

export function encode({ payload, clientTimestamp, ...fields }: MessageFields): Buffer {
  const made = create(PublishRequestSchema, {
    ...fields,
    ...(payload === undefined ? {} : { payload }),
    ...(clientTimestamp === undefined ? {} : { clientTimestamp }),
  });
  return Buffer.from(toBinary(PublishRequestSchema, made));
}

const change = fc.record({
  at: fc.nat(),
  kind: fc.constantFrom('set', 'flip', 'insert', 'remove', 'cut', 'repeat', 'append'),
  byte: fc.oneof(
    fc.nat(255),
    fc.constantFrom(0, 1, 0x7f, 0x80, 0xff, 0x0a, 0x12, 0x1a, 0x20, 0x28, 0x32, 0x38, 0x2a, 0x08, 0x10, 0x11, 0x24),
  ),
});

export const changes = fc.array(change, { minLength: 1, maxLength: 4 });

/** The bytes after a few changes at random. */
export function changed(data: Uint8Array, made: typeof changes extends fc.Arbitrary<infer T> ? T : never): Buffer {
  let bytes = [...data];
  for (const { at, kind, byte } of made) {
    const n = bytes.length === 0 ? 0 : at % bytes.length;
    if (kind === 'set') bytes[n] = byte;
    else if (kind === 'flip') bytes[n] = (bytes[n] ?? 0) ^ (1 << (byte & 7));
    else if (kind === 'insert') bytes.splice(n, 0, byte);
    else if (kind === 'remove') bytes.splice(n, 1 + (byte & 3));
    else if (kind === 'cut') bytes = bytes.slice(0, n);
    else if (kind === 'repeat') bytes.splice(n, 0, ...bytes.slice(n, n + (byte & 63)));
    else bytes.push(...bytes.slice(n));
  }
  return Buffer.from(bytes);
}
