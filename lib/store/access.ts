import { EventEmitter } from 'node:events';
import type { Kysely } from 'kysely';
import { BoundedWork } from '#lib/sql/bounded-work.ts';
import { StoreUnavailableError } from '#lib/sql/database-errors.ts';
import type { Database } from './database.ts';
import { actorOf, requireMandate } from './mandate.ts';
import { Mutation } from './mutation.ts';
import type { Schema } from './schema.ts';
import { type Actor, type By, STORE_DEADLINE_MS } from './store.ts';

/** How many mutations and how many reads may wait in this process. */
const MAX_WAITING = 1_000;
/** Mutations of one organization, or of a user outside of any. With a thousand of one's own nobody else would come to it. */
export const MAX_WAITING_OF_ONE = 100;

/** Notes of use that may wait, and for how long whoever is noted waits for theirs: for less than services wait for the answer. */
const MAX_NOTES = 100;
const NOTE_WAIT_MS = 1_000;

/** The two ways to the data: a query, and a mutation. Both have a deadline, and only so many wait. */
export class Access {
  readonly database: Database;
  readonly #commits = new EventEmitter<{ commit: [] }>().setMaxListeners(0);
  readonly #timeoutMs: number;
  readonly #reads: BoundedWork;
  readonly #mutations: BoundedWork;
  readonly #waitingOf = new Map<bigint | Actor, number>();
  readonly #notes = new BoundedWork({ name: 'notes', max: MAX_NOTES, timeoutMs: NOTE_WAIT_MS });

  constructor(database: Database, timeoutMs = STORE_DEADLINE_MS) {
    this.database = database;
    this.#timeoutMs = timeoutMs;
    this.#reads = new BoundedWork({ name: 'reads', max: MAX_WAITING, timeoutMs });
    this.#mutations = new BoundedWork({ name: 'mutations', max: MAX_WAITING, timeoutMs });
  }

  read<T>(query: (db: Kysely<Schema>) => Promise<T>): Promise<T> {
    return this.#reads.run(() => query(this.database.reader));
  }

  mutate<T>(by: By, act: (mutation: Mutation) => Promise<T>): Promise<T> {
    return this.#mutations.run(() => this.#inPlace(by, () => this.#transact(by, act)));
  }

  /** @throws StoreUnavailableError */
  async #inPlace<T>(by: By, work: () => Promise<T>): Promise<T> {
    // Who operates the installation must be able to end what somebody does.
    if (actorOf(by) === 'system') return work();
    const whose = typeof by === 'string' ? by : by.organizationId;
    const waiting = this.#waitingOf.get(whose) ?? 0;
    if (waiting >= MAX_WAITING_OF_ONE) {
      throw new StoreUnavailableError('too many mutations of one organization are waiting');
    }
    this.#waitingOf.set(whose, waiting + 1);
    try {
      return await work();
    } finally {
      const left = (this.#waitingOf.get(whose) ?? 1) - 1;
      if (left > 0) this.#waitingOf.set(whose, left);
      else this.#waitingOf.delete(whose);
    }
  }

  async #transact<T>(by: By, act: (mutation: Mutation) => Promise<T>): Promise<T> {
    const deadline = performance.now() + this.#timeoutMs;
    let hasRecorded = false;
    // Whatever the database's default: who has waited for the lock must see what was committed meanwhile.
    const transaction = this.database.writer.transaction().setIsolationLevel('read committed');
    const result = await transaction.execute(async (tx) => {
      const mutation = await Mutation.begin(tx, this.database, by);
      // Whoever asked was told so, and has gone or asked for something else since.
      if (performance.now() > deadline) throw new StoreUnavailableError('the change waited for too long');
      await requireMandate(tx, by, mutation.nowMs);
      const done = await act(mutation);
      hasRecorded = mutation.hasRecorded;
      return done;
    });
    if (hasRecorded) this.#commits.emit('commit');
    return result;
  }

  /** A write that is nobody's deed: it has no number and no lock. */
  note(query: (db: Kysely<Schema>) => Promise<unknown>): Promise<unknown> {
    return this.#mutations.run(() => query(this.database.writer));
  }

  /**
   * Notes that something was used. Who is let in is not kept waiting by whoever else writes: the note is made later then,
   * or, where that can't be or there are too many, by the next use.
   */
  async noteUse(query: (db: Kysely<Schema>) => Promise<unknown>): Promise<void> {
    try {
      await this.#notes.run(() => query(this.database.writer));
    } catch (error) {
      if (!(error instanceof StoreUnavailableError)) throw error;
    }
  }

  /** Calls `listener` after each mutation of this process. */
  onCommit(listener: () => void): () => void {
    this.#commits.on('commit', listener);
    return () => void this.#commits.off('commit', listener);
  }

  /** Refuses what comes from now on. Resolves when all that came before has ended. */
  async close(): Promise<void> {
    await Promise.all([this.#reads.close(), this.#mutations.close(), this.#notes.close()]);
  }
}
