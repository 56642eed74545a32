/** What is not larger shares a page with what comes next. */
const MAX_PAGE_BYTES = 4096;

/**
 * The bytes of one log's messages, copied into pages: bytes of their own for each message are dear to make and to collect. What
 * arrives is often a small view of a large network buffer, which would be kept alive. No two logs share a page, so that
 * none is kept by another, and what is counted is what is held.
 */
export class MemoryPages {
  /** Of all pages that were not given back. */
  heldBytes = 0;
  /** The one that was put into last. */
  page = new Uint8Array(0);
  #used = 0;

  /** How much more will be held once so much is put. */
  growthBytes(length: number): number {
    if (length <= this.page.length - this.#used) return 0;
    // As much again as there is: a log of few messages has little room that it doesn't need.
    return Math.max(length, Math.min(this.heldBytes, MAX_PAGE_BYTES));
  }

  /** Copies `data` into {@link page}, and answers where it begins there. */
  put(data: Uint8Array): number {
    const growth = this.growthBytes(data.length);
    if (growth > 0) {
      this.page = new Uint8Array(growth);
      this.heldBytes += growth;
      this.#used = 0;
    }
    const start = this.#used;
    this.page.set(data, start);
    this.#used += data.length;
    return start;
  }

  /** Nothing in it is needed any more. Not the one that is put into. */
  giveBack(page: Uint8Array): void {
    this.heldBytes -= page.length;
  }
}
