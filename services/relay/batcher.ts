export interface BatcherOptions<T> {
  /** Never rejects. */
  readonly run: (batch: readonly T[]) => Promise<void>;
  readonly maxItems: number;
  readonly maxBytes: number;
  /** From the first of a batch until it is run, where it doesn't fill. */
  readonly maxWaitMs: number;
  readonly maxConcurrent: number;
}

/** Makes batches of what comes, and runs few of them at once. Whoever adds bounds how much waits. */
export class Batcher<T> {
  readonly #options: BatcherOptions<T>;
  readonly #full: T[][] = [];
  #next: T[] = [];
  #nextBytes = 0;
  #isDue = false;
  #running = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: BatcherOptions<T>) {
    this.#options = options;
  }

  add(item: T, sizeBytes: number): void {
    const { maxItems, maxBytes, maxWaitMs } = this.#options;
    if (this.#next.length > 0 && this.#nextBytes + sizeBytes > maxBytes) this.#fill();
    this.#next.push(item);
    this.#nextBytes += sizeBytes;
    if (this.#next.length >= maxItems) this.#fill();
    else this.#timer ??= setTimeout(() => this.#due(), maxWaitMs);
  }

  /** @returns what was not begun, and never will be. */
  close(): T[] {
    const left = [...this.#full.splice(0).flat(), ...this.#next];
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#isDue = false;
    this.#next = [];
    this.#nextBytes = 0;
    return left;
  }

  #fill(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#isDue = false;
    this.#full.push(this.#next);
    this.#next = [];
    this.#nextBytes = 0;
    this.#start();
  }

  #due(): void {
    this.#timer = undefined;
    this.#isDue = true;
    this.#start();
  }

  /** While all are busy, what is due goes on filling. */
  #start(): void {
    while (this.#running < this.#options.maxConcurrent) {
      const batch = this.#full.shift();
      if (batch === undefined) {
        if (this.#isDue) this.#fill();
        return;
      }
      this.#running += 1;
      void this.#options.run(batch).finally(() => {
        this.#running -= 1;
        this.#start();
      });
    }
  }
}
