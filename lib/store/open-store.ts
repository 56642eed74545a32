import type { Database } from './database.ts';
import { openPostgres } from './postgres-database.ts';
import { createStore } from './sql-store.ts';
import { openSqlite } from './sqlite-database.ts';
import type { Store } from './store.ts';

export interface OpenStoreOptions {
  /** `postgres://…`. Without it, or empty: SQLite in the data folder, for one machine. */
  readonly databaseUrl?: string | undefined;
  readonly dataDir: string;
}

/**
 * The store that a deployment has, with its schema brought up to this version.
 * @throws SchemaTooNewError
 * @throws StoreUnavailableError
 * @throws UnusableFileError
 * @throws InvalidDatabaseUrlError
 */
export async function openStore(options: OpenStoreOptions): Promise<Store> {
  return createStore(await openDatabase(options));
}

/** For those who keep tables of their own beside the store's: they share its database and its migrations. */
export async function openDatabase({ databaseUrl, dataDir }: OpenStoreOptions): Promise<Database> {
  if (databaseUrl === undefined || databaseUrl.trim() === '') return openSqlite(dataDir);
  return openPostgres({ url: databaseUrl.trim() });
}
