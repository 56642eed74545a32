import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readText, splitLines } from './lines.ts';

async function* chunksOf(...chunks: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

async function split(maxBytes: number, ...chunks: (string | Uint8Array)[]) {
  const pieces = [];
  for await (const piece of splitLines(chunksOf(...chunks.map((chunk) => Buffer.from(chunk))), maxBytes)) {
    pieces.push(piece);
  }
  return pieces;
}

describe('splitLines', () => {
  it('yields lines across chunks, and the last one without its end', async () => {
    const pieces = await split(100, 'on', 'e\ntwo\n', '\nfo', 'ur');
    expect(pieces.map((piece) => [piece.line, piece.text])).toEqual([
      [1, 'one\n'],
      [2, 'two\n'],
      [3, '\n'],
      [4, 'four'],
    ]);
  });

  it('yields a line before the next chunk is there', async () => {
    let asked = 0;
    async function* source() {
      asked = 1;
      yield Buffer.from('one\n');
      asked = 2;
      yield Buffer.from('two\n');
    }
    const lines = splitLines(source(), 100);
    expect((await lines.next()).value).toMatchObject({ text: 'one\n' });
    expect(asked).toBe(1);
    await lines.return(undefined);
  });

  it('cuts a long line into pieces', async () => {
    expect(await split(4, 'abcdefghij\nk\n')).toEqual([
      { text: 'abcd', endsLine: false, line: 1 },
      { text: 'efgh', endsLine: false, line: 1 },
      { text: 'ij\n', endsLine: true, line: 1 },
      { text: 'k\n', endsLine: true, line: 2 },
    ]);
  });

  it('gives back every text, whatever the chunks, in pieces within the limit', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: fc.constantFrom('a', 'é', '語', '😀', '\n', '\r') }),
        fc.integer({ min: 1, max: 7 }),
        fc.integer({ min: 4, max: 16 }),
        async (text, chunkBytes, maxBytes) => {
          const bytes = Buffer.from(text);
          const chunks = [];
          for (let at = 0; at < bytes.length; at += chunkBytes) chunks.push(bytes.subarray(at, at + chunkBytes));
          const pieces = await split(maxBytes, ...chunks);
          expect(pieces.map((piece) => piece.text).join('')).toBe(text);
          for (const piece of pieces) {
            expect(Buffer.byteLength(piece.text)).toBeLessThanOrEqual(maxBytes);
            expect(piece.text.indexOf('\n')).toBeOneOf([-1, piece.text.length - 1]);
          }
        },
      ),
    );
  });

  it('replaces bytes that are no UTF-8, within the limit', async () => {
    const pieces = await split(4, Uint8Array.from([0x80, 0x80, 0x0a]));
    expect(pieces.map((piece) => piece.text)).toEqual(['\ufffd', '\ufffd\n']);
  });
});

describe('readText', () => {
  it('reads up to the limit and not beyond', async () => {
    expect(await readText(chunksOf(Buffer.from('ab'), Buffer.from('cd')), 4)).toBe('abcd');
    expect(await readText(chunksOf(Buffer.from('ab'), Buffer.from('cde')), 4)).toBeUndefined();
  });
});
