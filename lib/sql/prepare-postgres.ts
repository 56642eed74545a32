import { setTimeout as delay } from 'node:timers/promises';
import { Kysely, PostgresDialect } from 'kysely';
import { StoreUnavailableError } from './database-errors.ts';
import { createPostgresPool } from './postgres-pool.ts';

/** Databases are often started together with what needs them. */
const OPEN_DEADLINE_MS = 30_000;
const OPEN_RETRY_MS = 250;

/**
 * Does what a database needs before it is used, such as migrations, which may take long. Waits for one that is not there
 * yet. `prepare` may run more than once.
 * @throws StoreUnavailableError
 */
export async function preparePostgres<Schema>(
  url: string,
  prepare: (db: Kysely<Schema>) => Promise<void>,
  openDeadlineMs = OPEN_DEADLINE_MS,
): Promise<void> {
  const pool = createPostgresPool({ url, maxConnections: 1, unhurried: true });
  const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) });
  const deadline = performance.now() + openDeadlineMs;
  try {
    for (;;) {
      try {
        return await prepare(db);
      } catch (error) {
        if (!(error instanceof StoreUnavailableError) || performance.now() > deadline) throw error;
        await delay(OPEN_RETRY_MS);
      }
    }
  } finally {
    await db.destroy();
  }
}
