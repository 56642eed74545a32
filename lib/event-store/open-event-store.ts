import type { EventStore } from './event-store.ts';
import { openPostgresEvents } from './postgres-event-database.ts';
import { createEventStore } from './sql-event-store.ts';
import { openSqliteEvents } from './sqlite-event-database.ts';

export interface OpenEventStoreOptions {
  /** `postgres://…`, the control plane's. Without it, or empty: SQLite in the data folder, for one machine. */
  readonly databaseUrl?: string | undefined;
  readonly dataDir: string;
  /** For who only reads: nothing is applied or deleted. */
  readonly readOnly?: boolean;
}

/**
 * The event store that a deployment has, with its schema brought up to this version.
 * @throws SchemaTooNewError
 * @throws StoreUnavailableError
 * @throws UnusableFileError
 * @throws InvalidDatabaseUrlError
 */
export async function openEventStore({
  databaseUrl,
  dataDir,
  readOnly = false,
}: OpenEventStoreOptions): Promise<EventStore> {
  const url = databaseUrl?.trim() ?? '';
  return createEventStore(
    url === '' ? await openSqliteEvents({ dataDir, readOnly }) : await openPostgresEvents({ url, readOnly }),
  );
}
