/** Smaller pieces are joined: each is an object that takes hundreds of bytes, and one that sends may make each as small as one. */
const SMALL_BYTES = 1024;
const MAX_SMALL = 256;

/** The pieces of something that arrives, in memory that is about what they say. */
export class Pieces {
  readonly #pieces: Buffer[] = [];
  /** How many of the last ones are small. */
  #small = 0;

  push(piece: Buffer): void {
    this.#pieces.push(piece);
    this.#small = piece.byteLength < SMALL_BYTES ? this.#small + 1 : 0;
    if (this.#small < MAX_SMALL) return;
    this.#small = 0;
    this.push(Buffer.concat(this.#pieces.splice(-MAX_SMALL)));
  }

  /** One after another, in memory that is of nothing else. */
  whole(): Buffer {
    const [only] = this.#pieces;
    const isAlone = this.#pieces.length === 1 && only?.byteLength === only?.buffer.byteLength;
    return isAlone && only !== undefined ? only : Buffer.concat(this.#pieces);
  }

  clear(): void {
    this.#pieces.length = 0;
    this.#small = 0;
  }
}
