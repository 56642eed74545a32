import { Due, type Shared } from './due.ts';
import type { EntryId } from './entry-id.ts';
import type { Notice, Reader } from './follow.ts';

/** What readers have in common that are delivered the same. */
export interface LiveReadersOptions<D> {
  readonly together: (shared: readonly D[]) => readonly D[];
  /** They are due something: {@link LiveReaders.turnOver} is to be called once this turn's work is done. */
  readonly onDue: () => void;
  /** A reader threw: it is to be taken out, and the others go on. */
  readonly onFailed: (reader: Reader<D>, error: unknown) => void;
}

/**
 * The readers of a channel that have all there is, or are due it. What arrives in one turn is delivered together after it:
 * one write a reader, however much it is; text of a channel that coalesces may wait longer (see {@link Due}). Whatever else
 * they are told comes after what they are due.
 */
export class LiveReaders<D> {
  readonly #together: (shared: readonly D[]) => readonly D[];
  readonly #onFailed: (reader: Reader<D>, error: unknown) => void;
  readonly #readers = new Set<Reader<D>>();
  readonly #due: Due<D>;
  /**
   * Those that came while text waits, by what they have of it: they had it at once, and the others still wait. Most channels
   * never have any.
   */
  #ahead: Map<EntryId, Set<Reader<D>>> | undefined;

  constructor({ together, onDue, onFailed }: LiveReadersOptions<D>) {
    this.#together = together;
    this.#onFailed = onFailed;
    this.#due = new Due(onDue);
  }

  get isEmpty(): boolean {
    return this.#readers.size === 0 && this.#ahead === undefined;
  }

  /** True while text waits for its window to be over. */
  get wait(): boolean {
    return this.#due.waits;
  }

  /** Adds one that has everything up to `at`, the last that was due to the others. */
  add(reader: Reader<D>, at: EntryId): void {
    if (this.#due.waits) this.#aheadAt(at).add(reader);
    else this.#readers.add(reader);
  }

  delete(reader: Reader<D>): void {
    this.#readers.delete(reader);
    if (this.#ahead === undefined) return;
    for (const [at, readers] of this.#ahead) if (readers.delete(reader) && readers.size === 0) this.#ahead.delete(at);
    if (this.#ahead.size === 0) this.#ahead = undefined;
  }

  /** It is due to all of them. */
  owe(item: Shared<D>): void {
    this.#due.add(item);
  }

  /** The turn in which something fell due is over. */
  turnOver(): void {
    if (this.#due.isAsked) this.deliverDue();
  }

  /** Delivers what is due, also what waits. */
  deliverDue(): void {
    const due = this.#due.take();
    if (due.length === 0) return;
    for (const shared of this.together(due)) for (const reader of this.#readers) this.#deliver(reader, shared);
    const ahead = this.#ahead;
    this.#ahead = undefined;
    if (ahead !== undefined) this.#deliverAhead(due, ahead);
  }

  control(notice: Notice, cursor: EntryId | undefined): void {
    this.deliverDue();
    for (const reader of this.#readers) reader.control(notice, cursor);
  }

  /** All of them, with nothing due. */
  settled(): readonly Reader<D>[] {
    this.deliverDue();
    return [...this.#readers];
  }

  /** Nothing is delivered any more, and no timer left. */
  close(): void {
    this.#due.take();
  }

  together(items: readonly Shared<D>[]): readonly D[] {
    const shared = items.map((item) => item.shared);
    return shared.length > 1 ? this.#together(shared) : shared;
  }

  #deliverAhead(due: readonly Shared<D>[], ahead: ReadonlyMap<EntryId, ReadonlySet<Reader<D>>>): void {
    // All of them first: when those before go at their delivery, there must not seem to be nobody left.
    for (const readers of ahead.values()) for (const reader of readers) this.#readers.add(reader);
    for (const [at, readers] of ahead) {
      const next = due.findIndex(({ entry }) => entry.prev === at);
      if (next < 0) continue;
      for (const shared of this.together(due.slice(next))) {
        for (const reader of readers) if (this.#readers.has(reader)) this.#deliver(reader, shared);
      }
    }
  }

  #deliver(reader: Reader<D>, shared: D): void {
    try {
      reader.deliver(shared);
    } catch (error) {
      this.#onFailed(reader, error);
    }
  }

  #aheadAt(at: EntryId): Set<Reader<D>> {
    this.#ahead ??= new Map();
    let readers = this.#ahead.get(at);
    if (readers === undefined) {
      readers = new Set();
      this.#ahead.set(at, readers);
    }
    return readers;
  }
}
