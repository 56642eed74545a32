import { Kysely, PostgresDialect } from 'kysely';
import { type Migration, migrate } from '#lib/sql/migrate.ts';
import { createPostgresPool } from '#lib/sql/postgres-pool.ts';
import { requirePostgresUrl } from '#lib/sql/postgres-url.ts';
import { preparePostgres } from '#lib/sql/prepare-postgres.ts';
import type { Database } from './database.ts';
import { type Home, postgresHome, settleHistory } from './history.ts';
import { controlPlaneHistory } from './migrations.ts';
import { listenForMutations } from './postgres-listener.ts';
import type { Schema } from './schema.ts';

/**
 * Apart, or changes that wait for their turn would hold every connection, and nobody could be let in meanwhile. More writers
 * would only wait in PostgreSQL instead of here.
 */
const MAX_READERS = 6;
const MAX_WRITERS = 4;

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
  const found: { home?: Home } = {};
  await preparePostgres<Schema>(
    url,
    async (db) => {
      await migrate(db, 'postgres', controlPlaneHistory(options.migrations));
      found.home = await postgresHome(db);
      await settleHistory(db, 'postgres', found.home);
    },
    options.openDeadlineMs,
  );
  const { home } = found;
  if (home === undefined) throw new Error('a database was opened that is nowhere');
  const open = (maxConnections: number) =>
    new Kysely<Schema>({ dialect: new PostgresDialect({ pool: createPostgresPool({ url, maxConnections }) }) });
  const [reader, writer] = [open(MAX_READERS), open(MAX_WRITERS)];
  const listeners = new Set<() => void>();
  let listening: (() => Promise<void>) | undefined;
  return {
    kind: 'postgres',
    home,
    reader,
    writer,
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
      await Promise.all([reader.destroy(), writer.destroy()]);
    },
  };
}
