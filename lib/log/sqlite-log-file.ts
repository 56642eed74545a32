import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { crc32 } from 'node:zlib';
import { UnusableFileError } from '#lib/sql/database-errors.ts';
import { isNewFile, sqliteCode, unusable } from '#lib/sql/unusable-file.ts';

export function logFile(dataDir: string): string {
  return join(dataDir, 'log.sqlite');
}

/** Of each topic. */
export const SQLITE_PARTITIONS = 4;

const FORMAT = 1;
const OWN_TABLE = 'topics';
const OPEN_TIMEOUT_MS = 5_000;
const OPEN_RETRY_MS = 5;
const NEVER = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
const BUSY = 5;
/** A record of the usual size fits in a page, several in one of this size: measured against 4 KiB, a third less CPU. */
const PAGE_BYTES = 8192;
const MAX_IDLE_WAL_BYTES = 16 * 1024 * 1024;

/**
 * Each partition is a table of its own: appends are at its end, which SQLite does without splitting pages, what is too old
 * goes from its beginning, and a reader finds its place by the number. The next offset is kept apart, as it must not begin
 * again where every record has gone.
 */
const SCHEMA = `
create table topics (
  id text not null primary key,
  name text not null unique
) strict;
create table partitions (
  id integer primary key,
  topic_id text not null references topics (id),
  partition integer not null,
  next_offset integer not null default 0,
  unique (topic_id, partition)
) strict;
pragma user_version = ${FORMAT};
`;

export function partitionOf(key: Uint8Array): number {
  return crc32(key) % SQLITE_PARTITIONS;
}

export function recordsTable(partitionId: number): string {
  return `records_${partitionId}`;
}

export function createRecordsTable(partitionId: number): string {
  return `create table ${recordsTable(partitionId)} (
    "offset" integer primary key,
    timestamp_ms integer not null,
    key blob not null,
    value blob not null
  ) strict`;
}

/**
 * Makes the file where there is none. Any number of processes may do so at once.
 * @throws UnusableFileError
 */
export function openForWriting(dataDir: string): DatabaseSync {
  try {
    return whenFree(() => openOnce(dataDir));
  } catch (error) {
    throw unusable(logFile(dataDir), error);
  }
}

/** Of many that start at once one makes a file's write-ahead log, and the others are refused then, however long they may wait. */
export function whenFree<T>(open: () => T): T {
  const deadlineMs = performance.now() + OPEN_TIMEOUT_MS;
  for (;;) {
    try {
      return open();
    } catch (error) {
      if (!isBusy(error) || performance.now() > deadlineMs) throw error;
    }
    Atomics.wait(NEVER, 0, 0, OPEN_RETRY_MS);
  }
}

export function isBusy(error: unknown): boolean {
  return sqliteCode(error) === BUSY;
}

function openOnce(dataDir: string): DatabaseSync {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const file = logFile(dataDir);
  const database = new DatabaseSync(file, { timeout: OPEN_TIMEOUT_MS });
  try {
    isNewFile(database, file, OWN_TABLE);
    // The journals that SQLite makes beside it get the same mode.
    chmodSync(file, 0o600);
    database.exec(`pragma page_size = ${PAGE_BYTES}; pragma journal_mode = wal; pragma synchronous = full`);
    database.exec(`pragma journal_size_limit = ${MAX_IDLE_WAL_BYTES}`);
    database.exec('begin immediate');
    const format = Number(database.prepare('pragma user_version').get()?.['user_version']);
    if (format > FORMAT) throw new UnusableFileError(file, `is of a newer Tideway (format ${format}): run that one`);
    if (format === 0) database.exec(SCHEMA);
    database.exec('commit');
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

export function openForReading(dataDir: string): DatabaseSync {
  return new DatabaseSync(logFile(dataDir), { readOnly: true, timeout: OPEN_TIMEOUT_MS });
}
