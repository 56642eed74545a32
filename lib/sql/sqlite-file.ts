import { chmodSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { isNewFile, unusable } from './unusable-file.ts';

/**
 * For one writer at a time and any number of readers beside it. Synced at every commit: what is acknowledged is on the
 * disk. `ownTable` is what tells it from a database of something else.
 * @throws UnusableFileError
 */
export function openSqliteForWriting(file: string, ownTable: string): DatabaseSync {
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    return openOwn(file, ownTable);
  } catch (error) {
    throw unusable(file, error);
  }
}

function openOwn(file: string, ownTable: string): DatabaseSync {
  const database = new DatabaseSync(file);
  try {
    isNewFile(database, file, ownTable);
    // People's data: the journals that SQLite makes beside it get the same mode.
    chmodSync(file, 0o600);
    database.exec('pragma journal_mode = wal');
    database.exec('pragma synchronous = full');
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

export function openSqliteForReading(file: string): DatabaseSync {
  return new DatabaseSync(file, { readOnly: true });
}
