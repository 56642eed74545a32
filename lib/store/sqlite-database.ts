import { join } from 'node:path';
import { Kysely } from 'kysely';
import { type Migration, migrate } from '#lib/sql/migrate.ts';
import { nodeSqliteDialect } from '#lib/sql/node-sqlite-dialect.ts';
import type { SqliteData } from '#lib/sql/sqlite-backup.ts';
import { openSqliteForReading, openSqliteForWriting } from '#lib/sql/sqlite-file.ts';
import { unusable } from '#lib/sql/unusable-file.ts';
import type { Database } from './database.ts';
import { type Home, LEAVE_HOME, settleHistory, sqliteHome } from './history.ts';
import { controlPlaneHistory } from './migrations.ts';
import type { Schema } from './schema.ts';

const FILE_NAME = 'control.sqlite';
export function sqliteFile(dataDir: string): string {
  return join(dataDir, FILE_NAME);
}

/** What its backups are of. */
export function controlPlaneData(dataDir: string): SqliteData {
  return { file: sqliteFile(dataDir), history: controlPlaneHistory(), markCopy: LEAVE_HOME };
}

/**
 * One connection for writing and one for reading, so that reads see only what is committed, and go on beside a
 * transaction.
 * @throws SchemaTooNewError
 * @throws StoreUnavailableError
 * @throws UnusableFileError
 */
export async function openSqlite(dataDir: string, migrations?: readonly Migration[]): Promise<Database> {
  const file = sqliteFile(dataDir);
  let home: Home;
  const history = controlPlaneHistory(migrations);
  const open = () => openSqliteForWriting(file, history.versionsTable);
  const writer = new Kysely<Schema>({ dialect: nodeSqliteDialect(open) });
  try {
    await migrate(writer, 'sqlite', history);
    home = sqliteHome(file);
    await settleHistory(writer, 'sqlite', home);
  } catch (error) {
    await writer.destroy();
    throw unusable(file, error);
  }
  const reader = new Kysely<Schema>({ dialect: nodeSqliteDialect(() => openSqliteForReading(file)) });
  return {
    kind: 'sqlite',
    home,
    reader,
    writer,
    listen: () => () => undefined,
    close: async () => {
      await reader.destroy();
      // Last, as it folds the write-ahead log into the file.
      await writer.destroy();
    },
  };
}
