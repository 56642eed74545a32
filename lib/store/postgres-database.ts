import { setTimeout as delay } from 'node:timers/promises';
import { Kysely, PostgresDialect } from 'kysely';
import type { Database } from './database.ts';
import { postgresHome, settleHistory } from './history.ts';
import { migrate } from './migrate.ts';
import type { Migration } from './migrations.ts';
import { listenForMutations } from './postgres-listener.ts';
import { createPostgresPool } from './postgres-pool.ts';
import { requirePostgresUrl } from './postgres-url.ts';
import type { Schema } from './schema.ts';
import { StoreUnavailableError } from './store-errors.ts';

/** Databases are often started together with what needs them. */
const OPEN_DEADLINE_MS = 30_000;
const OPEN_RETRY_MS = 250;

export interface OpenPostgresOptions {
  readonly url: string;
  /** How long to wait for the database. */
  readonly openDeadlineMs?: number | undefined;
  readonly migrations?: readonly Migration[] | undefined;
}

/**
 * PostgreSQL 15 or later, reached directly or through a pooler that keeps sessions: it is listened to.
 * @throws InvalidDatabaseUrlError
 * @throws SchemaTooNewError
 * @throws StoreUnavailableError
 */
export async function openPostgres(options: OpenPostgresOptions): Promise<Database> {
  const url = requirePostgresUrl(options.url);
  await migratePostgres(url, options);
  const pool = createPostgresPool({ url });
  const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) });
  const listeners = new Set<() => void>();
  let listening: (() => Promise<void>) | undefined;
  return {
    kind: 'postgres',
    reader: db,
    writer: db,
    listen: (listener) => {
      const own = () => listener();
      listeners.add(own);
      listening ??= listenForMutations(url, () => {
        for (const each of listeners) each();
      });
      return () => {
        listeners.delete(own);
        if (listeners.size > 0) return;
        void listening?.();
        listening = undefined;
      };
    },
    close: async () => {
      await listening?.();
      await db.destroy();
    },
  };
}

async function migratePostgres(
  url: string,
  { openDeadlineMs = OPEN_DEADLINE_MS, migrations }: OpenPostgresOptions,
): Promise<void> {
  const pool = createPostgresPool({ url, maxConnections: 1, unhurried: true });
  const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) });
  const deadline = performance.now() + openDeadlineMs;
  try {
    for (;;) {
      try {
        await migrate(db, 'postgres', migrations);
        return await settleHistory(db, 'postgres', await postgresHome(db));
      } catch (error) {
        if (!(error instanceof StoreUnavailableError) || performance.now() > deadline) throw error;
        await delay(OPEN_RETRY_MS);
      }
    }
  } finally {
    await db.destroy();
  }
}
