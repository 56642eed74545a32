import { EventEmitter } from 'node:events';
import type { Kysely } from 'kysely';
import type { Database } from './database.ts';
import { Mutation } from './mutation.ts';
import type { Schema } from './schema.ts';
import { type Actor, STORE_DEADLINE_MS } from './store.ts';
import { StoreUnavailableError } from './store-errors.ts';

/** How many mutations and how many reads may wait in this process. */
const MAX_WAITING = 1_000;

/** The two ways to the data: a query, and a mutation. Both have a deadline, and only so many wait. */
export class Access {
  readonly database: Database;
  readonly #commits = new EventEmitter<{ commit: [] }>().setMaxListeners(0);
  #isClosed = false;
  readonly #waiting = { reads: new Set<Promise<unknown>>(), mutations: new Set<Promise<unknown>>() };

  constructor(database: Database) {
    this.database = database;
  }

  read<T>(query: (db: Kysely<Schema>) => Promise<T>): Promise<T> {
    return this.#bounded('reads', () => query(this.database.reader));
  }

  mutate<T>(actor: Actor, act: (mutation: Mutation) => Promise<T>): Promise<T> {
    const { kind, writer } = this.database;
    return this.#bounded('mutations', async () => {
      let hasRecorded = false;
      const result = await writer.transaction().execute(async (tx) => {
        const mutation = await Mutation.begin(tx, kind, actor);
        const done = await act(mutation);
        hasRecorded = mutation.hasRecorded;
        return done;
      });
      if (hasRecorded) this.#commits.emit('commit');
      return result;
    });
  }

  /** A write that is nobody's deed: it has no number and no lock. */
  note(query: (db: Kysely<Schema>) => Promise<unknown>): Promise<unknown> {
    return this.#bounded('mutations', () => query(this.database.writer));
  }

  /** Calls `listener` after each mutation of this process. */
  onCommit(listener: () => void): () => void {
    this.#commits.on('commit', listener);
    return () => void this.#commits.off('commit', listener);
  }

  /** Refuses what comes from now on. Resolves when all that came before has ended, which the database's limits bound. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.allSettled([...this.#waiting.reads, ...this.#waiting.mutations]);
  }

  async #bounded<T>(what: 'reads' | 'mutations', act: () => Promise<T>): Promise<T> {
    if (this.#isClosed) throw new StoreUnavailableError('the store is closed');
    const waiting = this.#waiting[what];
    if (waiting.size >= MAX_WAITING) throw new StoreUnavailableError(`too many ${what} are waiting`);
    // What is given up on still counts until it ends.
    const work: Promise<T> = act().finally(() => waiting.delete(work));
    waiting.add(work);
    return withDeadline(work, STORE_DEADLINE_MS);
  }
}

export async function withDeadline<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new StoreUnavailableError(`the database did not answer within ${timeoutMs} ms`)),
    timeoutMs,
  );
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
