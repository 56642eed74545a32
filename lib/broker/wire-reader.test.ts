import { BinaryWriter } from '@bufbuild/protobuf/wire';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { WireReader } from './wire-reader.ts';

const FIRST_TOO_LARGE = 2n ** 49n;
const around = fc.uint8Array({ maxLength: 12 });
const numbers = fc.oneof(
  fc.bigInt(0n, 2n ** 64n - 1n),
  fc.bigInt(0n, FIRST_TOO_LARGE),
  fc.integer({ min: 0, max: 63 }).map((bits) => 2n ** BigInt(bits)),
  fc.integer({ min: 1, max: 64 }).map((bits) => 2n ** BigInt(bits) - 1n),
);

function readerAt(at: number): WireReader {
  const reader = new WireReader();
  reader.at = at;
  return reader;
}

describe('a reader in place', () => {
  test('reads the numbers that the library writes, and passes those that are too large', async () => {
    await fc.assert(
      fc.property(numbers, around, around, (number, before, behind) => {
        const written = new BinaryWriter().uint64(number).finish();
        const data = Uint8Array.from([...before, ...written, ...behind]);
        const end = before.length + written.length;

        const reader = readerAt(before.length);
        expect(reader.varint(data, data.length)).toBe(number < FIRST_TOO_LARGE ? Number(number) : -1);
        if (number < FIRST_TOO_LARGE) expect(reader.at).toBe(end);

        const passing = readerAt(before.length);
        expect(passing.skipVarint(data, data.length)).toBe(true);
        expect(passing.at).toBe(end);
      }),
    );
  });

  test('looks at nothing behind the end that it is given', async () => {
    await fc.assert(
      fc.property(numbers, around, (number, behind) => {
        const written = new BinaryWriter().uint64(number).finish();
        const data = Uint8Array.from([...written, ...behind]);
        for (let end = 0; end < written.length; end++) {
          expect(readerAt(0).varint(data, end)).toBe(-1);
          expect(readerAt(0).skipVarint(data, end)).toBe(false);
          expect(readerAt(0).delimitedEnd(data, end)).toBe(-1);
        }
        expect(readerAt(written.length).varint(data, 0)).toBe(-1);
      }),
    );
  });

  test('says where something ends that has a length, if it ends within what it is in', async () => {
    await fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), around, (content, behind) => {
        const written = new BinaryWriter().bytes(content).finish();
        const data = Uint8Array.from([...written, ...behind]);
        const reader = readerAt(0);
        expect(reader.delimitedEnd(data, data.length)).toBe(written.length);
        expect(reader.at).toBe(written.length - content.length);
        if (content.length > 0) expect(readerAt(0).delimitedEnd(data, written.length - 1)).toBe(-1);
      }),
    );
  });

  test('ends no number after more bytes than a number has', () => {
    const endless = new Uint8Array(20).fill(0x80);
    expect(readerAt(0).varint(endless, endless.length)).toBe(-1);
    expect(readerAt(0).skipVarint(endless, endless.length)).toBe(false);
  });
});
