import { BrokerUnavailableError } from './broker.ts';

/** Asked for in one go. */
const AT_ONCE = 500;
/** The broker was away: when to ask again. */
const AGAIN_MS = 1_000;

/**
 * Things that have to be looked up at the broker: each, as often as it is due, until the broker has answered. Those of one
 * turn are asked for together, and nobody waits for the answer.
 */
export class Lookups<Item> {
  readonly #look: (items: readonly Item[]) => Promise<void>;
  readonly #onError: (error: unknown) => void;
  readonly #due = new Set<Item>();
  /** What is asked for at the moment. */
  #asked = new Set<Item>();
  #closed = false;
  #looking = false;
  #timer: NodeJS.Timeout | undefined;

  /** @param look May be called again with what it failed for. @param onError hears of what is not the broker's absence. */
  constructor(look: (items: readonly Item[]) => Promise<void>, onError: (error: unknown) => void) {
    this.#look = look;
    this.#onError = onError;
  }

  add(...items: readonly Item[]): void {
    this.addAll(items);
  }

  addAll(items: Iterable<Item>): void {
    for (const item of items) this.#due.add(item);
    this.#soon();
  }

  /** It is not needed any more. It may be under way. */
  forget(item: Item): void {
    this.#due.delete(item);
    this.#asked.delete(item);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#due.clear();
  }

  #soon(): void {
    if (this.#looking || this.#due.size === 0) return;
    this.#looking = true;
    setImmediate(() => void this.#run());
  }

  async #run(): Promise<void> {
    clearTimeout(this.#timer);
    try {
      while (this.#due.size > 0) {
        const asked = [...this.#due].slice(0, AT_ONCE);
        this.#asked = new Set(asked);
        // Before the answer: what falls due meanwhile is looked up once more.
        for (const item of asked) this.#due.delete(item);
        await this.#look(asked);
      }
    } catch (error) {
      if (!(error instanceof BrokerUnavailableError)) this.#onError(error);
      if (this.#closed) return;
      for (const item of this.#asked) this.#due.add(item);
      this.#timer = setTimeout(() => this.#soon(), AGAIN_MS).unref();
    } finally {
      this.#asked.clear();
      this.#looking = false;
    }
  }
}
