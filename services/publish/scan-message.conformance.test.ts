import { create, fromBinary, type JsonObject, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Phase, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import { Gate } from '#lib/server/gate.ts';
import { Refusal } from '#lib/server/refusal.ts';
import { checkMessage, type MessageHead } from './publish-message.ts';
import { scanMessage } from './scan-message.ts';

const gate = new Gate({});

/** What the generated code, the contract's rules and the payload's limits make of the same bytes. */
function decoded(data: Uint8Array): MessageHead | undefined {
  try {
    const message = fromBinary(PublishRequestSchema, data);
    const { orgId } = message;
    // The scan leaves this rule to its caller.
    message.orgId ||= 1n;
    gate.validate(PublishRequestSchema, message);
    return { ...checkMessage(message), orgId };
  } catch (error) {
    if (!(error instanceof Refusal) && !(error instanceof Error)) throw error;
    return undefined;
  }
}

const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 60 }),
  fc.string({ unit: 'binary', maxLength: 80 }).map((made) => made.toWellFormed()),
  fc.constantFrom('', '__proto__', 'a'.repeat(200), '波'.repeat(40)),
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
const usual = fc.record({
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

type Fields = Omit<typeof usual extends fc.Arbitrary<infer T> ? T : never, 'phase'> & { phase: Phase };

function encode({ payload, clientTimestamp, ...fields }: Fields): Buffer {
  const made = create(PublishRequestSchema, {
    ...fields,
    ...(payload === undefined ? {} : { payload }),
    ...(clientTimestamp === undefined ? {} : { clientTimestamp }),
  });
  return Buffer.from(toBinary(PublishRequestSchema, made));
}

function nested(levels: number, inner: (value: JsonObject[string]) => JsonObject[string]): JsonObject {
  let value: JsonObject[string] = levels % 2 === 0 ? {} : [];
  for (let level = 2; level < levels; level++) value = inner(value);
  return { value };
}

const RUNS = 20_000;

describe('a scan', () => {
  test('takes all usual messages, and reads of them what the generated code reads', async () => {
    await fc.assert(
      fc.property(usual, (fields) => {
        const data = encode(fields);
        const scanned = scanMessage(data);
        expect(scanned).toBeDefined();
        expect(scanned).toEqual(decoded(data));
      }),
      { numRuns: RUNS / 10 },
    );
  });

  test('takes nothing that the generated code or the rules do not, nor otherwise: bytes changed at random', async () => {
    const change = fc.record({
      at: fc.nat(),
      kind: fc.constantFrom('set', 'flip', 'insert', 'remove', 'cut', 'repeat', 'append'),
      byte: fc.oneof(
        fc.nat(255),
        fc.constantFrom(0, 1, 0x7f, 0x80, 0xff, 0x0a, 0x12, 0x1a, 0x20, 0x28, 0x32, 0x38, 0x2a, 0x08, 0x10, 0x11, 0x24),
      ),
    });
    let taken = 0;
    await fc.assert(
      fc.property(usual, fc.array(change, { minLength: 1, maxLength: 4 }), (fields, changes) => {
        let bytes = [...encode(fields)];
        for (const { at, kind, byte } of changes) {
          const n = bytes.length === 0 ? 0 : at % bytes.length;
          if (kind === 'set') bytes[n] = byte;
          else if (kind === 'flip') bytes[n] = (bytes[n] ?? 0) ^ (1 << (byte & 7));
          else if (kind === 'insert') bytes.splice(n, 0, byte);
          else if (kind === 'remove') bytes.splice(n, 1 + (byte & 3));
          else if (kind === 'cut') bytes = bytes.slice(0, n);
          else if (kind === 'repeat') bytes.splice(n, 0, ...bytes.slice(n, n + (byte & 63)));
          else bytes.push(...bytes.slice(n));
        }
        const data = Buffer.from(bytes);
        const scanned = scanMessage(data);
        if (scanned === undefined) return;
        taken += 1;
        expect(scanned).toEqual(decoded(data));
      }),
      { numRuns: RUNS },
    );
    // Or it compared nothing.
    expect(taken).toBeGreaterThan(RUNS / 50);
  });

  test('takes no bytes at random that the others do not', async () => {
    await fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const scanned = scanMessage(Buffer.from(bytes));
        if (scanned !== undefined) expect(scanned).toEqual(decoded(bytes));
      }),
      { numRuns: RUNS },
    );
  });

  const fields: Fields = {
    channelId: crypto.randomUUID(),
    messageId: crypto.randomUUID(),
    phase: Phase.DELTA,
    sequence: 1n,
    orgId: 1n,
    payload: undefined,
    clientTimestamp: undefined,
  };
  const base = encode(fields);

  test.each<[string, Buffer]>([
    ['no channel', encode({ ...fields, channelId: '' })],
    ['a channel that is no UUID', encode({ ...fields, channelId: 'x'.repeat(36) })],
    ['a UUID without hyphens', encode({ ...fields, channelId: '0'.repeat(36) })],
    ['no id', encode({ ...fields, messageId: '' })],
    ['no phase', encode({ ...fields, phase: Phase.UNSPECIFIED })],
    ['a phase that there is not', encode({ ...fields, phase: 5 as Phase })],
    ['not a number', encode({ ...fields, payload: { n: [Number.NaN] } })],
    ['infinity', encode({ ...fields, payload: { n: Number.POSITIVE_INFINITY } })],
    ['minus infinity', encode({ ...fields, payload: { n: { n: Number.NEGATIVE_INFINITY } } })],
    ['text that is no UTF-8', Buffer.concat([base, Buffer.from([0x32, 7, 0x0a, 5, 0x0a, 1, 0xff, 0x12, 0])])],
    ['an unknown field', Buffer.concat([base, Buffer.from([0x78, 1])])],
    ['a field that is there twice', Buffer.concat([base, Buffer.from([0x28, 1])])],
    ['a group', Buffer.concat([base, Buffer.from([0x33, 0x34])])],
  ])('leaves to others what is not of the usual form: %s', (_, data) => {
    expect(scanMessage(data)).toBeUndefined();
  });

  test.each([
    ['objects', (value: JsonObject[string]) => ({ value })],
    ['lists', (value: JsonObject[string]) => [value]],
  ])('takes %s as deep as others do', (_, inner) => {
    for (let levels = 2; levels < 40; levels++) {
      const data = encode({ ...fields, payload: nested(levels, inner) });
      expect([levels, scanMessage(data)]).toEqual([levels, decoded(data)]);
      expect([levels, scanMessage(data) !== undefined]).toEqual([levels, levels <= 32]);
    }
  });

  test('of a part of a buffer looks at nothing around it', async () => {
    const around = Buffer.concat([base, base, base]);
    expect(scanMessage(around, base.length, 2 * base.length)).toEqual(decoded(base));
    for (let end = base.length; end < 2 * base.length; end++) {
      const scanned = scanMessage(around, base.length, end);
      if (scanned !== undefined) expect(scanned).toEqual(decoded(base.subarray(0, end - base.length)));
    }
  });
});
