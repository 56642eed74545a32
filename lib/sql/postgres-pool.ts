import type { PostgresPool, PostgresPoolClient, PostgresQueryResult } from 'kysely';
import pg from 'pg';
import { StoreUnavailableError } from './database-errors.ts';

/**
 * Each wait of a query ends by itself, the server's first: for a connection, for a lock, for the answer. The last is
 * ours, for a server that is paused or a network that swallows everything.
 */
const CONNECT_TIMEOUT_MS = 3_000;
const LOCK_TIMEOUT_MS = 3_000;
const STATEMENT_TIMEOUT_MS = 4_000;
const ANSWER_TIMEOUT_MS = 5_000;
const IDLE_TIMEOUT_MS = 30_000;
/** More would only wait in PostgreSQL instead of here. */
const MAX_CONNECTIONS = 10;
const MAX_PREPARED_INSERTS = 100;

/**
 * Classes of SQLSTATE that time or an operator mends: connection, transaction rollback (serialization, deadlock),
 * resources, limits on statements and shutdown. And a lock that was not to be had, a standby that can't write, and a
 * transaction that was ended for its time, as its process stood still.
 */
const UNAVAILABLE_STATES = /^(08|40|53|57|58|55P03|25006|25P0[34])/;
const INT8_OID = 20;

const types: pg.CustomTypesConfig = {
  getTypeParser: (oid: number, format?: 'text' | 'binary') =>
    oid === INT8_OID ? (text: string) => BigInt(text) : pg.types.getTypeParser(oid, format ?? 'text'),
};

export interface PoolOptions {
  readonly url: string;
  readonly maxConnections?: number;
  /** For migrations, which may take long. */
  readonly unhurried?: boolean;
  readonly lockTimeoutMs?: number;
  readonly statementTimeoutMs?: number;
  /** More than a statement's, so that the server says it first. */
  readonly answerTimeoutMs?: number;
  /** Inserts are parsed once a connection. For few texts, which come again and again. */
  readonly preparesInserts?: boolean;
}

/** pg's pool as Kysely takes it: what can't be helped by the caller is StoreUnavailableError, and broken connections go. */
export function createPostgresPool({
  url,
  maxConnections = MAX_CONNECTIONS,
  unhurried = false,
  lockTimeoutMs = LOCK_TIMEOUT_MS,
  statementTimeoutMs = STATEMENT_TIMEOUT_MS,
  answerTimeoutMs = ANSWER_TIMEOUT_MS,
  preparesInserts = false,
}: PoolOptions): PostgresPool {
  const pool = new pg.Pool({
    ...connectionOptions(url),
    types,
    max: maxConnections,
    idleTimeoutMillis: IDLE_TIMEOUT_MS,
    ...(unhurried
      ? {}
      : {
          lock_timeout: lockTimeoutMs,
          statement_timeout: statementTimeoutMs,
          idle_in_transaction_session_timeout: statementTimeoutMs,
          query_timeout: answerTimeoutMs,
        }),
  });
  const prepared = preparesInserts ? new PreparedInserts() : undefined;
  // Of idle connections, which the pool drops by itself.
  pool.on('error', () => undefined);
  return {
    options: pool.options,
    connect: async () => {
      try {
        return new Client(await pool.connect(), prepared);
      } catch (error) {
        throw translated(error);
      }
    },
    end: () => pool.end(),
  };
}

export function connectionOptions(url: string): pg.ClientConfig {
  return {
    connectionString: url,
    application_name: 'tideway',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
  };
}

/** What inserts are called by all connections. */
class PreparedInserts {
  readonly #names = new Map<string, string>();

  nameOf(sql: string): string | undefined {
    if (!sql.startsWith('insert ')) return undefined;
    let name = this.#names.get(sql);
    // Each costs every connection memory, there and here.
    if (name === undefined && this.#names.size < MAX_PREPARED_INSERTS) {
      name = `insert_${this.#names.size + 1}`;
      this.#names.set(sql, name);
    }
    return name;
  }
}

class Client implements PostgresPoolClient {
  readonly #client: pg.PoolClient;
  readonly #prepared: PreparedInserts | undefined;
  /** It may be in the middle of anything: nothing more is asked of it, and the pool gets no such connection back. */
  #broken: StoreUnavailableError | undefined;

  constructor(client: pg.PoolClient, prepared: PreparedInserts | undefined) {
    this.#client = client;
    this.#prepared = prepared;
    client.on('error', this.#onError);
  }

  query<R>(sql: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<R>>;
  query(): never;
  async query<R>(sql?: string, parameters: readonly unknown[] = []): Promise<PostgresQueryResult<R>> {
    if (sql === undefined) throw new Error('the store has no cursors');
    if (this.#broken) throw this.#broken;
    try {
      const name = this.#prepared?.nameOf(sql);
      const query = name === undefined ? { text: sql } : { text: sql, name };
      const result = await this.#client.query({ ...query, values: [...parameters] });
      return result as unknown as PostgresQueryResult<R>;
    } catch (error) {
      const problem = translated(error);
      if (problem instanceof StoreUnavailableError && !(error instanceof pg.DatabaseError)) this.#broken = problem;
      throw problem;
    }
  }

  release(destroy = false): void {
    this.#client.off('error', this.#onError);
    this.#client.release(destroy || this.#broken !== undefined);
  }

  // A borrowed connection that breaks between two queries says so here, and would end the process unheard.
  readonly #onError = (error: Error) => {
    this.#broken = unavailable(error);
  };
}

/** What the server did not say itself is about the way to it. */
function translated(error: unknown): unknown {
  if (error instanceof pg.DatabaseError && !UNAVAILABLE_STATES.test(error.code ?? '')) return error;
  return unavailable(error);
}

function unavailable(cause: unknown): StoreUnavailableError {
  return new StoreUnavailableError('PostgreSQL did not do it, or did not answer', { cause });
}
