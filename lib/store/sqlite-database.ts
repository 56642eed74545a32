import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Kysely } from 'kysely';
import { type Migration, migrate } from '#lib/sql/migrate.ts';
import { nodeSqliteDialect } from '#lib/sql/node-sqlite-dialect.ts';
import type { Database } from './database.ts';
import { settleHistory, sqliteHome } from './history.ts';
import { controlPlaneHistory } from './migrations.ts';
import type { Schema } from './schema.ts';

const FILE_NAME = 'control.sqlite';
export function sqliteFile(dataDir: string): string {
  return join(dataDir, FILE_NAME);
}

/**
 * One connection for writing and one for reading, so that reads see only what is committed, and go on beside a
 * transaction. Synced at every commit: what is acknowledged is on the disk.
 * @throws SchemaTooNewError
 * @throws StoreUnavailableError
 */
export async function openSqlite(dataDir: string, migrations?: readonly Migration[]): Promise<Database> {
  const file = sqliteFile(dataDir);
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const writer = new Kysely<Schema>({ dialect: nodeSqliteDialect(() => openForWriting(file)) });
  try {
    await migrate(writer, 'sqlite', controlPlaneHistory(migrations));
    await settleHistory(writer, 'sqlite', sqliteHome(file));
  } catch (error) {
    await writer.destroy();
    throw error;
  }
  const reader = new Kysely<Schema>({ dialect: nodeSqliteDialect(() => openForReading(file)) });
  return {
    kind: 'sqlite',
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

function openForWriting(file: string): DatabaseSync {
  const database = new DatabaseSync(file);
  try {
    // Hashes of tokens and people's addresses: the journals that SQLite makes beside it get the same mode.
    chmodSync(file, 0o600);
    database.exec('pragma journal_mode = wal');
    database.exec('pragma synchronous = full');
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

function openForReading(file: string): DatabaseSync {
  return new DatabaseSync(file, { readOnly: true });
}
