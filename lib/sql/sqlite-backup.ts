import { constants } from 'node:fs';
import { access, copyFile, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { SchemaTooNewError } from './database-errors.ts';
import type { SchemaHistory } from './migrate.ts';
import { isDamaged } from './unusable-file.ts';

/** Why there is no backup, or nothing was restored: one line for a person. */
export class BackupError extends Error {
  override readonly name = 'BackupError';
}

/** A database that there are backups of. */
export interface SqliteData {
  readonly file: string;
  readonly history: SchemaHistory;
  /** SQL that marks a copy as one, for data that must know when it was restored. */
  readonly markCopy?: string;
}

/**
 * Copies the data, as it is at one moment, while any number of processes go on reading and writing. The
 * file appears when it is whole and on the disk. @throws BackupError
 */
export async function backupSqlite({ file: from, history, markCopy }: SqliteData, to: string): Promise<void> {
  if (!(await exists(from))) throw new BackupError(`there is no ${from}`);
  if (await exists(to)) throw new BackupError(`${to} is there already`);
  const partial = `${to}.partial`;
  await rm(partial, { force: true });
  try {
    // Nobody else's, from its first byte on.
    await (await open(partial, 'wx', 0o600)).close();
    const database = new DatabaseSync(from, { readOnly: true, timeout: 5_000 });
    try {
      // Of one read transaction, so that writers neither wait for it nor make it begin again.
      database.prepare('vacuum into ?').run(partial);
    } finally {
      database.close();
    }
    requireWhole(partial, history);
    if (markCopy !== undefined) execute(partial, markCopy);
    await rename(await synced(partial), to);
    await synced(dirname(to));
  } catch (error) {
    await rm(partial, { force: true });
    if (isDamaged(error)) throw new BackupError(`${from} is damaged: it can't be backed up`, { cause: error });
    throw error;
  }
}

/**
 * Puts a backup where there is no data. What is there must be moved away first, and whoever has it open stopped, for the
 * journals beside it are a part of it. @throws BackupError @throws SchemaTooNewError
 */
export async function restoreSqlite(from: string, { file: to, history }: SqliteData): Promise<void> {
  for (const file of [to, `${to}-wal`, `${to}-shm`]) {
    if (await exists(file)) throw new BackupError(`${file} is there: stop what uses it, and move it away`);
  }
  if (!(await exists(from))) throw new BackupError(`there is no ${from}`);
  requireWhole(from, history);
  await mkdir(dirname(to), { recursive: true, mode: 0o700 });
  const partial = `${to}.partial`;
  try {
    await copyFile(from, partial);
    await rename(await synced(partial), to);
    await synced(dirname(to));
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}

/** @throws BackupError @throws SchemaTooNewError */
function requireWhole(file: string, { migrations, versionsTable }: SchemaHistory): void {
  let version: number;
  try {
    const database = new DatabaseSync(file, { readOnly: true });
    try {
      const [check] = database.prepare('pragma integrity_check').all();
      if (check?.['integrity_check'] !== 'ok') throw new BackupError(`${file} is damaged`);
      version = Number(database.prepare(`select max(version) as version from ${versionsTable}`).get()?.['version']);
    } finally {
      database.close();
    }
  } catch (error) {
    if (error instanceof BackupError) throw error;
    throw new BackupError(`${file} is no backup of this data of Tideway's`, { cause: error });
  }
  if (version > migrations.length) throw new SchemaTooNewError(version, migrations.length);
}

function execute(file: string, sql: string): void {
  const database = new DatabaseSync(file);
  try {
    database.exec(sql);
  } finally {
    database.close();
  }
}

async function synced(path: string): Promise<string> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
  return path;
}

async function exists(path: string): Promise<boolean> {
  return access(path, constants.F_OK).then(
    () => true,
    () => false,
  );
}
