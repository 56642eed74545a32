/** A line of the input, or a part of one that is longer than a message may be. */
export interface Piece {
  /** With its line ending, so that all pieces together are the input. */
  readonly text: string;
  /** False if the line goes on in the next piece. */
  readonly endsLine: boolean;
  /** Which line of the input, from 1. */
  readonly line: number;
}

/**
 * Splits bytes into lines as they arrive: a line is yielded as soon as its end is there, the last one at the end of
 * the input even without. A line above `maxBytes` comes in several pieces, never cut inside a character. Bytes that are
 * no UTF-8 become U+FFFD. At most `maxBytes` and one chunk are held.
 */
export async function* splitLines(chunks: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<Piece> {
  let rest: Buffer = Buffer.alloc(0);
  let line = 1;
  for await (const chunk of validUtf8(chunks)) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let start = 0;
    for (;;) {
      const newline = rest.indexOf(NEWLINE, start);
      const end = newline === -1 ? rest.length : newline + 1;
      if (end - start > maxBytes) {
        const cut = characterStart(rest, start + maxBytes);
        yield { text: rest.toString('utf8', start, cut), endsLine: false, line };
        start = cut;
      } else if (newline === -1) {
        break;
      } else {
        yield { text: rest.toString('utf8', start, end), endsLine: true, line };
        start = end;
        line++;
      }
    }
    rest = rest.subarray(start);
  }
  if (rest.length > 0) yield { text: rest.toString('utf8'), endsLine: true, line };
}

/** Reads everything, as text; undefined if that is more than `maxBytes`. */
export async function readText(chunks: AsyncIterable<Uint8Array>, maxBytes: number): Promise<string | undefined> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.byteLength;
    if (bytes > maxBytes) return undefined;
    parts.push(chunk);
  }
  return Buffer.concat(parts).toString('utf8');
}

const NEWLINE = 0x0a;

// Decoding comes before cutting: a replacement character is longer than the byte it stands for, and counts.
async function* validUtf8(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  for await (const chunk of chunks) yield Buffer.from(decoder.decode(chunk, { stream: true }));
  yield Buffer.from(decoder.decode());
}

// The last place at or before `at` where a character begins.
function characterStart(utf8: Buffer, at: number): number {
  let start = at;
  while (((utf8[start] ?? 0) & 0xc0) === 0x80) start--;
  return start;
}
