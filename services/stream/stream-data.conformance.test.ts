import { fromBinary } from '@bufbuild/protobuf';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Phase, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import { changed, changes, encode, type MessageFields, usual } from '#lib/broker/message-testing.ts';
import { scanMessage } from '#lib/broker/scan-message.ts';
import { readStreamData, streamData } from './stream-data.ts';

const RUNS = 20_000;

function decoded(data: Uint8Array): string {
  return streamData(fromBinary(PublishRequestSchema, data));
}

/** False where it is left to the generated code. */
function isRead(data: Buffer): boolean {
  const json = readStreamData(data);
  if (json !== undefined) expect(json).toBe(decoded(data));
  return json !== undefined;
}

describe('a message that is read in place', () => {
  test('says what the decoded one does', async () => {
    let read = 0;
    await fc.assert(
      fc.property(usual, (fields) => {
        read += Number(isRead(encode(fields)));
      }),
      { numRuns: RUNS },
    );
    // Or it compared nothing.
    expect(read).toBeGreaterThan(RUNS / 2);
  });

  test('and nothing else after its bytes were changed at random', async () => {
    let read = 0;
    await fc.assert(
      fc.property(usual, changes, (fields, made) => {
        read += Number(isRead(changed(encode(fields), made)));
      }),
      { numRuns: RUNS },
    );
    expect(read).toBeGreaterThan(RUNS / 50);
  });

  const fields: MessageFields = {
    channelId: crypto.randomUUID(),
    messageId: crypto.randomUUID(),
    phase: Phase.DELTA,
    sequence: 2n ** 40n,
    orgId: 1n,
    payload: undefined,
    clientTimestamp: undefined,
  };
  /** A payload of these fields, each with the value null. */
  const named = (...names: string[]) => {
    const entries = names.map((name) => {
      const bytes = Buffer.from(name);
      return Buffer.concat([
        Buffer.from([0x0a, bytes.length + 6, 0x0a, bytes.length]),
        bytes,
        Buffer.from([0x12, 2, 8, 0]),
      ]);
    });
    const struct = Buffer.concat(entries);
    return Buffer.concat([
      encode(fields),
      Buffer.from([0x32, (struct.length & 0x7f) | 0x80, struct.length >> 7]),
      struct,
    ]);
  };

  test.each([
    ['a name that is there twice', named('a', 'b', 'a')],
    ['names that an object sorts', named('b', '2', '1')],
    ['the name of its prototype', named('a', '__proto__')],
    ['very many names', named(...Array.from({ length: 33 }, (_, n) => String.fromCharCode(0x61 + n)))],
  ])('leaves to the generated code what an object would have otherwise: %s', (_, data) => {
    expect(scanMessage(data)).toBeDefined();
    expect(readStreamData(data)).toBeUndefined();
  });

  test.each([
    ['nothing', ''],
    ['plain', 'plain'],
    ['quotes', 'a "quoted" \\ text'],
    ['what ends a line', 'line\r\nfeed\t\0'],
    ['more than ASCII', 'é 波 😀 \u2028 \x7f'],
    ['long', 'x'.repeat(5_000)],
    ['long, and more than ASCII', 'ü'.repeat(5_000)],
  ])('escapes what JSON does: %s', (_, text) => {
    const data = encode({ ...fields, payload: { [text.slice(0, 40)]: text, list: [text, [], {}, -0, 1e21] } });
    expect(readStreamData(data)).toBe(decoded(data));
  });
});
