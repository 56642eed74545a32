import { DEFAULT_WINDOW_BYTES } from './frames.ts';

/**
 * What nghttp2 may have of a connection's window: it has the answers to send that are no lane's, such as refusals.
 */
export const SESSION_SHARE_BYTES = 1024 * 1024;

/**
 * A connection's window, shared between nghttp2, which knows of nothing but its own part, and the lanes. The peer gives
 * back what it has read without saying whose it was: that is nghttp2's until it has its share again. Whose it was does
 * not matter, since together they never send more than the peer allows.
 */
export class SharedWindow {
  #sessionShareBytes = DEFAULT_WINDOW_BYTES;
  #spentBySessionBytes = 0;
  #lanesBytes = 0;

  /** What the lanes may send now. */
  get lanesBytes(): number {
    return this.#lanesBytes;
  }

  spendByLanes(bytes: number): void {
    this.#lanesBytes -= bytes;
  }

  /** nghttp2 has sent this much. */
  spendBySession(bytes: number): void {
    this.#spentBySessionBytes += bytes;
  }

  /** @returns what of it nghttp2 is to be told. */
  credit(bytes: number): number {
    const repaid = Math.min(bytes, this.#spentBySessionBytes);
    this.#spentBySessionBytes -= repaid;
    const grown = Math.min(bytes - repaid, SESSION_SHARE_BYTES - this.#sessionShareBytes);
    this.#sessionShareBytes += grown;
    this.#lanesBytes += bytes - repaid - grown;
    return repaid + grown;
  }
}
