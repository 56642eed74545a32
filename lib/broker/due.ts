import type { Entry } from './broker.ts';

/** An entry, and the form of it that readers share. */
export interface Shared<D> {
  readonly entry: Entry;
  readonly shared: D;
}

/** Text that waits is delivered before its time once there is so much of it, counted as entries' data. */
export const MAX_WAITING_TEXT_BYTES = 256 * 1024;

/**
 * What the live readers of a channel are due. It is delivered after this turn of the event loop; of a channel that coalesces,
 * text at most once a window: what comes within the window since the last text waits until that is over. Anything else takes
 * what waits along, so that their order holds.
 *
 * One timer while something waits, whatever the number of messages and readers.
 */
export class Due<D> {
  readonly #onDue: () => void;
  #items: Shared<D>[] = [];
  #isAsked = false;
  #hasText = false;
  #waitingBytes = 0;
  #textAtMs = Number.NEGATIVE_INFINITY;
  #window: NodeJS.Timeout | undefined;

  /** `onDue`: there is something to be delivered after this turn. */
  constructor(onDue: () => void) {
    this.#onDue = onDue;
  }

  /** True from `onDue` until it is taken. */
  get isAsked(): boolean {
    return this.#isAsked;
  }

  /** True while text waits for its window to be over. */
  get waits(): boolean {
    return this.#window !== undefined;
  }

  add(item: Shared<D>): void {
    this.#items.push(item);
    const { coalesceMs, data } = item.entry;
    if (coalesceMs !== undefined) this.#hasText = true;
    if (this.#isAsked) return;
    if (coalesceMs === undefined) {
      this.#ask();
      return;
    }
    this.#waitingBytes += data.byteLength;
    if (this.#waitingBytes >= MAX_WAITING_TEXT_BYTES) this.#ask();
    else if (this.#window === undefined) this.#wait(this.#textAtMs + coalesceMs - performance.now());
  }

  /** All of it, in order; nothing waits then. */
  take(): readonly Shared<D>[] {
    const items = this.#items;
    // Then nothing waits, either.
    if (items.length === 0) return items;
    if (this.#hasText) this.#textAtMs = performance.now();
    this.#hasText = false;
    this.#items = [];
    this.#isAsked = false;
    this.#endWait();
    return items;
  }

  #wait(waitMs: number): void {
    if (waitMs <= 0) this.#ask();
    else this.#window = setTimeout(() => this.#ask(), Math.ceil(waitMs)).unref();
  }

  #endWait(): void {
    clearTimeout(this.#window);
    this.#window = undefined;
    this.#waitingBytes = 0;
  }

  #ask(): void {
    this.#endWait();
    this.#isAsked = true;
    this.#onDue();
  }
}
