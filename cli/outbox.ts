/**
 * What is read from a source and not yet acknowledged, oldest first. It outlives the calls that carry it: when one
 * breaks, the next sends from {@link Outbox.acknowledged} on again, so nothing that was read is lost and nothing changes
 * its order. Reads ahead only as far as `maxUnacknowledged`: that is the backpressure on the source.
 */
export class Outbox<T> {
  readonly #source: AsyncIterator<T>;
  readonly #maxUnacknowledged: number;
  readonly #queue: T[] = [];
  #acknowledged = 0;
  #pulling = false;
  #ended = false;
  #failure: unknown;
  #change = Promise.withResolvers<void>();

  constructor(source: AsyncIterable<T>, maxUnacknowledged: number) {
    this.#source = source[Symbol.asyncIterator]();
    this.#maxUnacknowledged = maxUnacknowledged;
  }

  /** How many are acknowledged: the position of the oldest that is not. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  get unacknowledged(): number {
    return this.#queue.length;
  }

  /** What the source threw, which ended it: to be thrown once everything read before is acknowledged. */
  get failure(): unknown {
    return this.#failure;
  }

  /**
   * The item at `position` in the source, from 0, which is not acknowledged yet; waits for the source if need be.
   * Undefined if there will be none, or when `signal` aborts.
   */
  async at(position: number, signal?: AbortSignal): Promise<T | undefined> {
    // One listener for the whole wait; it wakes every waiter, and those that were not meant look again and go on.
    const wake = () => this.#wake();
    signal?.addEventListener('abort', wake);
    try {
      for (;;) {
        if (signal?.aborted) return undefined;
        // Positions are the source's: an index into the queue would mean another item after each acknowledgement.
        const index = position - this.#acknowledged;
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
    if (item !== undefined) this.#acknowledged++;
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
