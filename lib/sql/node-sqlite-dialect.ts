import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely';
import { LRUCache } from 'lru-cache';
import { StoreUnavailableError } from './database-errors.ts';
import { sqliteCode } from './unusable-file.ts';

const LOCK_DEADLINE_MS = 5_000;
const LOCK_RETRY_MS = 5;
const MAX_STATEMENTS = 200;
const MAX_TURN_MS = 5;

/** Result codes that time or an operator mends: busy, locked, out of memory, read-only, I/O, full, can't open. */
const UNAVAILABLE_CODES: ReadonlySet<number> = new Set([5, 6, 7, 8, 10, 13, 14]);
const BUSY = 5;

/**
 * Kysely on one connection of node:sqlite, whose statements lack what Kysely's own dialect reads from better-sqlite3.
 * Kysely lends the connection to one borrower at a time. Queries run synchronously. Transactions begin with the writer's
 * lock: one that began by reading could not go on to write where another process wrote in between. A file that another
 * connection has locked is asked for again and again, as SQLite's own waiting would hold up the event loop.
 */
export function nodeSqliteDialect(open: () => DatabaseSync): Dialect {
  return {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => new NodeSqliteDriver(open),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  };
}

class NodeSqliteDriver implements Driver {
  readonly #open: () => DatabaseSync;
  readonly #turn = new Turn();
  #connection: NodeSqliteConnection | undefined;

  constructor(open: () => DatabaseSync) {
    this.#open = open;
  }

  async init(): Promise<void> {
    // Of many that start at once, one changes the file to a write-ahead log.
    const database = await whenFree(() => translated(this.#open));
    this.#connection = new NodeSqliteConnection(database);
  }

  async acquireConnection(): Promise<DatabaseConnection> {
    await this.#turn.yieldIfLong();
    if (this.#connection === undefined) throw new StoreUnavailableError('the database is closed');
    return this.#connection;
  }

  async beginTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('begin immediate'));
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('commit'));
  }

  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    // SQLite has rolled back by itself after some errors (disk full, I/O).
    if (this.#connection?.isInTransaction) await connection.executeQuery(CompiledQuery.raw('rollback'));
  }

  async releaseConnection(): Promise<void> {}

  async destroy(): Promise<void> {
    this.#connection?.close();
    this.#connection = undefined;
  }
}

/**
 * Queries that never wait make promises that never let go: a loop of them would keep timers and sockets waiting until its
 * end. So whoever asks late in a turn of the event loop is served in the next.
 */
class Turn {
  #startMs: number | undefined;

  async yieldIfLong(): Promise<void> {
    if (this.#startMs === undefined) {
      this.#startMs = performance.now();
      setImmediate(() => {
        this.#startMs = undefined;
      });
    } else if (performance.now() - this.#startMs > MAX_TURN_MS) {
      await nextTurn();
    }
  }
}

class NodeSqliteConnection implements DatabaseConnection {
  readonly #database: DatabaseSync;
  readonly #statements = new LRUCache<string, StatementSync>({ max: MAX_STATEMENTS });

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  get isInTransaction(): boolean {
    return this.#database.isTransaction;
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    // Within a transaction nobody else is waited for: the lock was to be had at its beginning.
    return this.isInTransaction ? this.#execute(query) : whenFree(() => this.#execute(query));
  }

  #execute<R>({ sql, parameters }: CompiledQuery): QueryResult<R> {
    return translated(() => {
      const statement = this.#statement(sql);
      const values = parameters as readonly SQLInputValue[];
      if (statement.columns().length > 0) return { rows: statement.all(...values) as R[] };
      const { changes } = statement.run(...values);
      return { rows: [], numAffectedRows: BigInt(changes) };
    });
  }

  // biome-ignore lint/correctness/useYield: nothing here is so long that it would have to be streamed.
  async *streamQuery<R>(): AsyncIterableIterator<QueryResult<R>> {
    throw new Error('the store streams no queries');
  }

  close(): void {
    this.#database.close();
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      statement.setReadBigInts(true);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

async function whenFree<T>(act: () => T | Promise<T>): Promise<T> {
  const deadline = performance.now() + LOCK_DEADLINE_MS;
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if (!isBusy(error) || performance.now() > deadline) throw error;
      await delay(LOCK_RETRY_MS * (1 + Math.random()));
    }
  }
}

function translated<T>(act: () => T): T {
  try {
    return act();
  } catch (error) {
    const code = sqliteCode(error);
    if (code === undefined || !UNAVAILABLE_CODES.has(code)) throw error;
    throw new StoreUnavailableError('SQLite: the database can not be used', { cause: error });
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof StoreUnavailableError && sqliteCode(error.cause) === BUSY;
}
