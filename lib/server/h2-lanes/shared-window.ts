import { DEFAULT_WINDOW_BYTES } from './frames.ts';

/**
 * What nghttp2 has of a connection's window, where there is so much: for answers that are no lane's, such as refusals.
 */
export const SESSION_SHARE_BYTES = 1024 * 1024;

/**
 * A connection's window, shared between nghttp2, which knows of nothing but its own part, and the lanes. What the peer gives
 * is nghttp2's until it has its share again. Whose it was that was read does not matter: together they never send more than
 * the peer allows.
 */
export class SharedWindow {
  #sessionBytes = DEFAULT_WINDOW_BYTES;
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
    this.#sessionBytes -= bytes;
  }

  /** The peer gives this much. @returns what of it nghttp2 is to be told. */
  credit(bytes: number): number {
    const forSession = Math.min(bytes, SESSION_SHARE_BYTES - this.#sessionBytes);
    this.#sessionBytes += forSession;
    this.#lanesBytes += bytes - forSession;
    return forSession;
  }

  /**
   * What nghttp2 is to be told that it has of the lanes' part, once it has spent half of its share: a peer whose windows
   * are large gives nothing back for as long as it likes.
   */
  lend(): number {
    if (this.#sessionBytes > SESSION_SHARE_BYTES / 2) return 0;
    const lent = Math.min(SESSION_SHARE_BYTES - this.#sessionBytes, Math.floor(this.#lanesBytes / 2));
    this.#sessionBytes += lent;
    this.#lanesBytes -= lent;
    return lent;
  }
}
