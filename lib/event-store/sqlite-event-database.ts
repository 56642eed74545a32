import { join } from 'node:path';
import { Kysely } from 'kysely';
import { type Migration, migrate } from '#lib/sql/migrate.ts';
import { nodeSqliteDialect } from '#lib/sql/node-sqlite-dialect.ts';
import type { SqliteData } from '#lib/sql/sqlite-backup.ts';
import { openSqliteForReading, openSqliteForWriting } from '#lib/sql/sqlite-file.ts';
import { unusable } from '#lib/sql/unusable-file.ts';
import type { Days, EventDatabase } from './database.ts';
import { eventStoreHistory } from './migrations.ts';
import type { EventSchema } from './schema.ts';

const FILE_NAME = 'events.sqlite';
/** New ids go anywhere among the old ones: what fits here is not read again for them. */
const WRITER_CACHE_KIB = 64 * 1024;
/** Pages are written to the file when so many wait in the journal; a page that changes often then counts once. */
const PAGES_A_CHECKPOINT = 4_000;

export function eventsFile(dataDir: string): string {
  return join(dataDir, FILE_NAME);
}

/** What its backups are of. */
export function eventData(dataDir: string): SqliteData {
  return { file: eventsFile(dataDir), history: eventStoreHistory() };
}

export interface OpenSqliteEventsOptions {
  readonly dataDir: string;
  readonly readOnly?: boolean;
  readonly migrations?: readonly Migration[] | undefined;
}

/**
 * One connection for writing and one for reading. The journal is synced at every commit, for a batch that is about one
 * sync: without it a power failure could take back effects whose records the log's group has passed already, and nobody
 * would hand those over again.
 *
 * The file never shrinks: what retention frees is filled again. A backup is as small as can be.
 * @throws SchemaTooNewError
 * @throws StoreUnavailableError
 * @throws UnusableFileError
 */
export async function openSqliteEvents({
  dataDir,
  readOnly = false,
  migrations,
}: OpenSqliteEventsOptions): Promise<EventDatabase> {
  const file = eventsFile(dataDir);
  const history = eventStoreHistory(migrations);
  const open = () => openWriter(file, history.versionsTable);
  const writer = new Kysely<EventSchema>({ dialect: nodeSqliteDialect(open) });
  try {
    // A reader too may be the first that starts.
    await migrate(writer, 'sqlite', history);
  } catch (error) {
    await writer.destroy();
    throw unusable(file, error);
  }
  const reader = new Kysely<EventSchema>({ dialect: nodeSqliteDialect(() => openSqliteForReading(file)) });
  if (readOnly) await writer.destroy();
  return {
    kind: 'sqlite',
    reader,
    // Of one turn of the event loop each.
    searcher: reader,
    writer: readOnly ? undefined : writer,
    days: NO_DAYS,
    close: async () => {
      await reader.destroy();
      // Last, as it folds the write-ahead log into the file.
      await writer.destroy();
    },
  };
}

/** Rows of all days are in one table here, and go one by one. */
const NO_DAYS: Days = {
  prepare: async () => undefined,
  isMissing: () => false,
  drop: async () => false,
};

function openWriter(file: string, ownTable: string) {
  const database = openSqliteForWriting(file, ownTable);
  database.exec(`pragma cache_size = -${WRITER_CACHE_KIB}`);
  database.exec(`pragma wal_autocheckpoint = ${PAGES_A_CHECKPOINT}`);
  return database;
}
