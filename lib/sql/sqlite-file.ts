import { chmodSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/**
 * For one writer at a time and any number of readers beside it. Synced at every commit: what is acknowledged is on the
 * disk.
 */
export function openSqliteForWriting(file: string): DatabaseSync {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const database = new DatabaseSync(file);
  try {
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
