import { BEFORE_ALL, compareEntryIds, type EntryId } from '#lib/broker/entry-id.ts';

export interface LogEntry {
  readonly id: EntryId;
  readonly prev: EntryId;
  readonly sequence: number;
}

/** What a publisher was answered: by sequence, all the ids, of which there should be one. */
export type Promises = ReadonlyMap<number, ReadonlySet<string>>;

/** Of what was there, or given to somebody, at a moment: whether a clock that leapt may have let it expire since. */
export type MayHaveExpired = (id: string) => boolean;

/** What Redis has, and what it had and let go of by its rules. */
export class LogView {
  readonly entries: readonly LogEntry[];
  /** Those, and before them what was promised and trimmed. */
  readonly all: readonly Pick<LogEntry, 'id' | 'sequence'>[];
  readonly #byId: Map<string, LogEntry>;
  readonly #promises: Promises;
  readonly #mayHaveExpired: MayHaveExpired;

  constructor(entries: readonly LogEntry[], promises: Promises, mayHaveExpired: MayHaveExpired) {
    this.entries = entries;
    this.#promises = promises;
    this.#mayHaveExpired = mayHaveExpired;
    this.#byId = new Map(entries.map((entry) => [entry.id, entry]));
    const promised = [...promises].flatMap(([sequence, ids]) =>
      [...ids].map((id) => ({ id: id as EntryId, sequence })),
    );
    const trimmed = promised.filter(({ id }) => this.wasTrimmed(id));
    this.all = [...trimmed.sort((a, b) => compareEntryIds(a.id, b.id)), ...entries];
  }

  has(id: string): boolean {
    return this.#byId.has(id);
  }

  /** It was in the log, as far as anybody can tell: what may have expired may have been in one before. */
  wasTrimmed(id: EntryId): boolean {
    const [first] = this.entries;
    if (first === undefined || first.prev === BEFORE_ALL || this.#mayHaveExpired(id)) return false;
    return compareEntryIds(id, first.id) < 0;
  }

  stands(id: EntryId): boolean {
    return this.has(id) || this.wasTrimmed(id);
  }

  /**
   * Where a message is that came as a part of another at `before`, to somebody who stood at `after`. Undefined: it was there
   * and is known to nobody any more. Joined text is of one log: what has since gone to another log than the message it came
   * with was read where that was.
   */
  placeOf(sequence: number, after: EntryId, before: EntryId): EntryId | undefined {
    const stored = this.entries.filter((entry) => entry.sequence === sequence).map(({ id }) => id);
    const known = [...stored, ...(this.#promises.get(sequence) ?? [])] as EntryId[];
    const between = known.filter((id) => compareEntryIds(id, after) > 0 && compareEntryIds(id, before) < 0);
    const [first] = between;
    if (first !== undefined) return between.find((id) => this.stands(id)) ?? first;
    return this.stands(before) ? stored.find((id) => compareEntryIds(id, after) <= 0) : undefined;
  }

  prevOf(id: EntryId): EntryId | undefined {
    return this.#byId.get(id)?.prev;
  }
}
