/**
 * Makes few large requests of many small ones. Keys that come within `windowMs` share a request of up to `maxKeys`; at
 * most `maxConcurrent` requests run. Whoever asks bounds how many keys wait, and asks for none twice at once.
 */
export interface BatcherOptions<R> {
  /** Answers all keys or throws for all. Must end by itself. */
  readonly run: (keys: readonly string[]) => Promise<ReadonlyMap<string, R>>;
  readonly maxKeys: number;
  readonly windowMs: number;
  readonly maxConcurrent: number;
}

interface Waiting<R> {
  readonly key: string;
  readonly resolve: (result: R | undefined) => void;
  readonly reject: (error: unknown) => void;
}

export class Batcher<R> {
  readonly #options: BatcherOptions<R>;
  #waiting: Waiting<R>[] = [];
  #running = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: BatcherOptions<R>) {
    this.#options = options;
  }

  /** Undefined: the request had no answer for the key. @throws what `run` throws */
  get(key: string): Promise<R | undefined> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ key, resolve, reject });
      if (this.#waiting.length === this.#options.maxKeys) this.#start();
      else this.#timer ??= setTimeout(() => this.#start(), this.#options.windowMs);
    });
  }

  /** Sends what waits, as far as requests may run. */
  #start(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const { maxKeys, maxConcurrent } = this.#options;
    while (this.#waiting.length > 0 && this.#running < maxConcurrent) {
      const batch = this.#waiting.slice(0, maxKeys);
      this.#waiting = this.#waiting.slice(maxKeys);
      this.#running += 1;
      void this.#run(batch);
    }
  }

  async #run(batch: readonly Waiting<R>[]): Promise<void> {
    try {
      const results = await this.#options.run(batch.map(({ key }) => key));
      for (const { key, resolve } of batch) resolve(results.get(key));
    } catch (error) {
      for (const { reject } of batch) reject(error);
    } finally {
      this.#running -= 1;
      this.#start();
    }
  }
}
