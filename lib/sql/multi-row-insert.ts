import { CompiledQuery, type Kysely } from 'kysely';

/** Rows go in pieces of these sizes: each is one text, compiled once, and prepared once by its database. */
const PIECES: readonly number[] = [64, 16, 4, 1];

/** The values of one row, in the order of the columns. */
export type RowValues = readonly unknown[];

/**
 * An insert of any number of rows. To compile one of hundreds of rows takes longer than to run it, and each number of rows
 * would be another statement.
 */
export class MultiRowInsert<Schema, Column extends string> {
  readonly #columns: readonly Column[];
  readonly #build: (db: Kysely<Schema>, rows: Record<Column, never>[]) => { compile(): CompiledQuery };
  readonly #pieces: readonly number[];
  /** By whose dialect it is, and by rows. */
  readonly #texts = new WeakMap<object, Map<number, string>>();

  constructor(
    columns: readonly Column[],
    build: (db: Kysely<Schema>, rows: Record<Column, never>[]) => { compile(): CompiledQuery },
    maxRowsAtOnce = Number.POSITIVE_INFINITY,
  ) {
    this.#columns = columns;
    this.#build = build;
    this.#pieces = PIECES.filter((size) => size <= maxRowsAtOnce);
  }

  /** @returns what the insert returns, if it does. */
  async run<Returned>(db: Kysely<Schema>, rows: readonly RowValues[]): Promise<Returned[]> {
    const returned: Returned[] = [];
    let from = 0;
    for (const size of this.#pieces) {
      for (; rows.length - from >= size; from += size) {
        const values = rows.slice(from, from + size).flat();
        const result = await db.executeQuery<Returned>(CompiledQuery.raw(this.#text(db, size), values));
        if (result.rows.length > 0) returned.push(...result.rows);
      }
    }
    return returned;
  }

  #text(db: Kysely<Schema>, size: number): string {
    const { adapter } = db.getExecutor();
    const texts = this.#texts.get(adapter) ?? new Map<number, string>();
    this.#texts.set(adapter, texts);
    let text = texts.get(size);
    if (text === undefined) {
      // Any value but none: it becomes a parameter.
      const row = Object.fromEntries(this.#columns.map((column) => [column, 0])) as Record<Column, never>;
      const { sql, parameters } = this.#build(
        db,
        Array.from({ length: size }, () => row),
      ).compile();
      if (parameters.length !== size * this.#columns.length) throw new Error('an insert has parameters of its own');
      text = sql;
      texts.set(size, text);
    }
    return text;
  }
}
