/**
 * What is read from a source and not yet acknowledged, oldest first. It outlives the calls that carry it: when one
 * breaks, the next sends from index 0 again, so nothing that was read is lost and nothing changes its order. Reads
 * ahead only as far as `maxUnacknowledged`: that is the backpressure on the source.
 */
export class Outbox<T> {
  readonly #source: AsyncIterator<T>;
  readonly #maxUnacknowledged: number;
  readonly #queue: T[] = [];
  #pulling = false;
  #ended = false;
  #failure: unknown;
  #change = Promise.withResolvers<void>();

  constructor(source: AsyncIterable<T>, maxUnacknowledged: number) {
    this.#source = source[Symbol.asyncIterator]();
    this.#maxUnacknowledged = maxUnacknowledged;
  }

  get unacknowledged(): number {
    return this.#queue.length;
  }

  /** What the source threw, which ended it: to be thrown once everything read before is acknowledged. */
  get failure(): unknown {
    return this.#failure;
  }

  /**
   * The item at `index` of what is unacknowledged; waits for the source if need be.
   * Undefined if there will be none, or when `signal` aborts.
   */
  async at(index: number, signal?: AbortSignal): Promise<T | undefined> {
    // One listener for the whole wait; it wakes every waiter, and those that were not meant look again and go on.
    const wake = () => this.#wake();
    signal?.addEventListener('abort', wake);
    try {
      for (;;) {
        if (signal?.aborted) return undefined;
        if (index < this.#queue.length) return this.#queue[index];
        if (this.#ended) return undefined;
        this.#pull();
        await this.#change.promise;
      }
    } finally {
      signal?.removeEventListener('abort', wake);
    }
  }

  /** Removes the oldest item. */
  acknowledge(): T | undefined {
    const item = this.#queue.shift();
    this.#wake();
    return item;
  }

  // A pull belongs to the outbox, not to the call that waits: a call that breaks meanwhile must not take the item along.
  #pull(): void {
    if (this.#pulling || this.#ended || this.#queue.length >= this.#maxUnacknowledged) return;
    this.#pulling = true;
    this.#source.next().then(
      (result) => {
        this.#pulling = false;
        if (result.done) this.#ended = true;
        else this.#queue.push(result.value);
        this.#wake();
      },
      (failure: unknown) => {
        this.#pulling = false;
        this.#ended = true;
        this.#failure = failure;
        this.#wake();
      },
    );
  }

  #wake(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers<void>();
  }
}
