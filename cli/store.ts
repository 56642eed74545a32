import { resolve } from 'node:path';
import process from 'node:process';
import { Env } from '#lib/server/env.ts';
import { storeSettings } from '#lib/server/settings.ts';
import { SchemaTooNewError } from '#lib/sql/database-errors.ts';
import { BackupError, backupSqlite, restoreSqlite } from '#lib/store/sqlite-backup.ts';
import { Output } from './output.ts';
import { say } from './session.ts';
import { EXIT } from './usage.ts';

const HELP = `npm run store:backup -- <file>    copies the control plane's data (SQLite) to a new file, while it is in use
npm run store:restore -- <file>   puts such a copy where there is no data
The data is in TIDEWAY_DATA_DIR. With DATABASE_URL it is PostgreSQL's: pg_dump and pg_restore, see docs/operations.md.`;

// `npm run store:backup` and `store:restore`. Like every main, this file reads the environment and wires.
const stdout = new Output(process.stdout);
const stderr = new Output(process.stderr);
process.exit(await main(process.argv.slice(2)));

async function main([action, file, ...more]: string[]): Promise<number> {
  if (file === '--help' || file === '-h') return say(stdout, HELP, EXIT.ok);
  if (file === undefined || more.length > 0) return say(stderr, HELP, EXIT.usage);
  const { databaseUrl, dataDir } = storeSettings(new Env(process.env));
  if (databaseUrl !== undefined) return say(stderr, HELP, EXIT.usage);
  try {
    if (action === 'backup') {
      await backupSqlite(dataDir, resolve(file));
      return say(stdout, `${dataDir} is backed up to ${file}`, EXIT.ok);
    }
    if (action === 'restore') {
      await restoreSqlite(resolve(file), dataDir);
      return say(stdout, `${file} is restored to ${dataDir}`, EXIT.ok);
    }
    return say(stderr, HELP, EXIT.usage);
  } catch (error) {
    if (error instanceof BackupError || error instanceof SchemaTooNewError || isOfTheSystem(error)) {
      return say(stderr, error.message, EXIT.refused);
    }
    throw error;
  }
}

/** A full disk, a folder that may not be written to: the system's own words say it. */
function isOfTheSystem(error: unknown): error is Error {
  return error instanceof Error && 'code' in error;
}
