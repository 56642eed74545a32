import type { DatabaseSync } from 'node:sqlite';
import { StoreUnavailableError, UnusableFileError } from './database-errors.ts';

const LEFT = 'and was left as it is: move it away, or set another folder';
const CORRUPT = 11;
const NOT_A_DATABASE = 26;
/** Not permitted, read-only, can't open. */
const CLOSED_CODES: ReadonlySet<number> = new Set([3, 8, 14]);

/**
 * What SQLite or the system says when a file is opened, as what somebody has to do, where waiting would not help. Anything
 * else as it is.
 */
export function unusable(file: string, error: unknown): unknown {
  const cause = error instanceof StoreUnavailableError ? error.cause : error;
  const code = sqliteCode(cause);
  if (code === NOT_A_DATABASE) return new UnusableFileError(file, `is no SQLite database, ${LEFT}`, { cause });
  if (code === CORRUPT) {
    const why = 'is damaged, and was left as it is: restore a backup in its place, or move it away';
    return new UnusableFileError(file, why, { cause });
  }
  const isClosed = cause instanceof Error && ((code !== undefined && CLOSED_CODES.has(code)) || 'syscall' in cause);
  if (!isClosed) return error;
  const why = `can't be opened (${cause.message}): it and its folder must be this user's to read and to write`;
  return new UnusableFileError(file, why, { cause });
}

/**
 * To be asked before anything is written: a file that has tables must have the one that ours have from their first moment
 * on, or it is somebody else's. @returns whether it has none yet @throws UnusableFileError
 */
export function isNewFile(database: DatabaseSync, file: string, ownTable: string): boolean {
  const tables = database.prepare("select name from sqlite_schema where type = 'table'").all();
  if (tables.length === 0) return true;
  if (tables.some(({ name }) => name === ownTable)) return false;
  throw new UnusableFileError(file, `is a database of something else, ${LEFT}`);
}

export function isDamaged(error: unknown): boolean {
  const code = sqliteCode(error);
  return code === CORRUPT || code === NOT_A_DATABASE;
}

/** SQLite's extended codes have the primary one in their lowest byte. */
export function sqliteCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return undefined;
  return error.errcode & 0xff;
}
