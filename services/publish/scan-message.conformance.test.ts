import { fromBinary, type JsonObject } from '@bufbuild/protobuf';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Phase, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import { changed, changes, encode, type MessageFields, usual } from '#lib/broker/message-testing.ts';
import { type MessageHead, scanMessage } from '#lib/broker/scan-message.ts';
import { Gate } from '#lib/server/gate.ts';
import { Refusal } from '#lib/server/refusal.ts';
import { checkMessage } from './publish-message.ts';

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

function nested(levels: number, inner: (value: JsonObject[string]) => JsonObject[string]): JsonObject {
  let value: JsonObject[string] = levels % 2 === 0 ? {} : [];
  for (let level = 2; level < levels; level++) value = inner(value);
  return { value };
}

/** The scan's own answer says where the payload is, too. */
function scan(...of: Parameters<typeof scanMessage>): MessageHead | undefined {
  const scanned = scanMessage(...of);
  if (scanned === undefined) return undefined;
  const { payloadStart: _start, payloadEnd: _end, ...head } = scanned;
  return head;
}

const RUNS = 20_000;

describe('a scan', () => {
  test('takes all usual messages, and reads of them what the generated code reads', async () => {
    await fc.assert(
      fc.property(usual, (fields) => {
        const data = encode(fields);
        const scanned = scan(data);
        expect(scanned).toBeDefined();
        expect(scanned).toEqual(decoded(data));
      }),
      { numRuns: RUNS / 10 },
    );
  });

  test('takes nothing that the generated code or the rules do not, nor otherwise: bytes changed at random', async () => {
    let taken = 0;
    await fc.assert(
      fc.property(usual, changes, (fields, made) => {
        const data = changed(encode(fields), made);
        const scanned = scan(data);
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
        const scanned = scan(Buffer.from(bytes));
        if (scanned !== undefined) expect(scanned).toEqual(decoded(bytes));
      }),
      { numRuns: RUNS },
    );
  });

  const fields: MessageFields = {
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
      expect([levels, scan(data)]).toEqual([levels, decoded(data)]);
      expect([levels, scanMessage(data) !== undefined]).toEqual([levels, levels <= 32]);
    }
  });

  test('of a part of a buffer looks at nothing around it', async () => {
    const around = Buffer.concat([base, base, base]);
    expect(scan(around, base.length, 2 * base.length)).toEqual(decoded(base));
    for (let end = base.length; end < 2 * base.length; end++) {
      const scanned = scan(around, base.length, end);
      if (scanned !== undefined) expect(scanned).toEqual(decoded(base.subarray(0, end - base.length)));
    }
  });
});
