import { resolve } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { eventData } from '#lib/event-store/sqlite-event-database.ts';
import { Env } from '#lib/server/env.ts';
import { storeSettings } from '#lib/server/settings.ts';
import { SchemaTooNewError } from '#lib/sql/database-errors.ts';
import { BackupError, backupSqlite, restoreSqlite } from '#lib/sql/sqlite-backup.ts';
import { controlPlaneData } from '#lib/store/sqlite-database.ts';
import { Output } from './output.ts';
import { say } from './session.ts';
import { EXIT, usageErrorOf } from './usage.ts';

const HELP = `npm run store:backup -- [--events] <file>    copies the control plane's data (SQLite) to a new file, while it is in use
npm run store:restore -- [--events] <file>   puts such a copy where there is no data
--events: the events and what was counted, which are in a file of their own.
The data is in TIDEWAY_DATA_DIR. With DATABASE_URL it is PostgreSQL's: pg_dump and pg_restore, see docs/operations.md.`;

// `npm run store:backup` and `store:restore`. Like every main, this file reads the environment and wires.
const stdout = new Output(process.stdout);
const stderr = new Output(process.stderr);
process.exit(await main(process.argv.slice(2)));

async function main(args: string[]): Promise<number> {
  const options = { help: { type: 'boolean', short: 'h' }, events: { type: 'boolean' } } as const;
  const parsed = usageErrorOf(() => parseArgs({ args, options, allowPositionals: true }));
  const wrong = (why: string) => say(stderr, `${why} --help tells more.`, EXIT.usage);
  if (parsed.kind === 'wrong') return wrong(parsed.why);
  const { values, positionals } = parsed.value;
  if (values.help) return say(stdout, HELP, EXIT.ok);
  const [action, file, ...more] = positionals;
  if (file === undefined || more.length > 0) return wrong('One file is needed.');
  const { databaseUrl, dataDir } = storeSettings(new Env(process.env));
  if (databaseUrl !== undefined) return wrong('DATABASE_URL is set, so the data is not in a file.');
  const data = values.events ? eventData(dataDir) : controlPlaneData(dataDir);
  try {
    if (action === 'backup') {
      await backupSqlite(data, resolve(file));
      return say(stdout, `${data.file} is backed up to ${file}`, EXIT.ok);
    }
    if (action === 'restore') {
      await restoreSqlite(resolve(file), data);
      return say(stdout, `${file} is restored to ${data.file}`, EXIT.ok);
    }
    return wrong('There are backup and restore.');
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
