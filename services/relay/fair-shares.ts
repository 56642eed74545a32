/**
 * A place of so many bytes that many use. Whoever asks gets it as long as it has no more, with that, than is left: one alone
 * has half, two have a third each, and however many there are, who comes anew finds something.
 */
export class FairShares<Owner> {
  readonly #maxBytes: number;
  /** Of those that have any. */
  readonly #owned = new Map<Owner, number>();
  #usedBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** How many have some of it. */
  get owners(): number {
    return this.#owned.size;
  }

  hasRoom(owner: Owner, bytes: number): boolean {
    return (this.#owned.get(owner) ?? 0) + bytes <= this.#maxBytes - this.#usedBytes;
  }

  /** Whether there is room or not. */
  add(owner: Owner, bytes: number): void {
    this.#usedBytes += bytes;
    this.#owned.set(owner, (this.#owned.get(owner) ?? 0) + bytes);
  }

  /** False: there is no room, and nothing was taken. */
  take(owner: Owner, bytes: number): boolean {
    if (!this.hasRoom(owner, bytes)) return false;
    this.add(owner, bytes);
    return true;
  }

  /** What was added or taken. */
  give(owner: Owner, bytes: number): void {
    this.#usedBytes -= bytes;
    const left = (this.#owned.get(owner) ?? 0) - bytes;
    if (left > 0) this.#owned.set(owner, left);
    else this.#owned.delete(owner);
  }
}
