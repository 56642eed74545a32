import { randomUUID } from 'node:crypto';
import { statSync } from 'node:fs';
import { type Kysely, type RawBuilder, sql, type Transaction } from 'kysely';
import type { DatabaseKind } from '#lib/sql/database-kind.ts';
import type { Schema } from './schema.ts';

/** More mutations than any backup is behind what was lost. */
const NUMBERS_LEFT_OUT = 1_000_000_000n;

/** SQL that says which database this is: a server may fail over under who uses it. */
export type Home = RawBuilder<string>;

/**
 * A restored database is at home elsewhere than the one that the backup was made of, and has forgotten mutations whose
 * numbers watchers, relays and clients have seen as cursors, revisions and etags. So it begins a new history: old cursors
 * say `reset`, and no number is given to two mutations. Where a database moved with all its data, that costs one reset.
 */
export async function settleHistory(db: Kysely<Schema>, kind: DatabaseKind, home: Home): Promise<void> {
  const { known, here } = await stateRow(db, home).executeTakeFirstOrThrow();
  if (known === here) return;
  const transaction = db.transaction().setIsolationLevel('read committed');
  await transaction.execute((tx) => lockHistory(tx, kind, home));
}

/**
 * Takes the lock of all writers and answers the last number. With each mutation it is looked whether this still is the same
 * database: a standby that took over may lack what this process has acknowledged itself.
 */
export async function lockHistory(tx: Transaction<Schema>, kind: DatabaseKind, home: Home): Promise<bigint> {
  const state = stateRow(tx, home);
  // On SQLite the transaction began with the lock.
  const row = await (kind === 'postgres' ? state.forUpdate() : state).executeTakeFirstOrThrow();
  if (row.known === row.here) return row.number;
  const isNew = row.known === '';
  const number = isNew ? row.number : row.number + NUMBERS_LEFT_OUT;
  const history = isNew ? {} : { history: randomUUID() };
  await tx
    .updateTable('store_state')
    .set({ home: row.here, number, ...history })
    .where('id', '=', 1n)
    .execute();
  return number;
}

function stateRow(db: Kysely<Schema>, home: Home) {
  return db
    .selectFrom('store_state')
    .select(['home as known', 'number', home.as('here')])
    .where('id', '=', 1n);
}

/** For a copy: it is at home nowhere, also where it is copied into the very file that it was made of. */
export const LEAVE_HOME = "update store_state set home = 'a copy'";

/** A copy has another inode, or was born later where the inode is used again. */
export function sqliteHome(file: string): Home {
  const { ino, birthtimeNs } = statSync(file, { bigint: true });
  return sql<string>`${`${ino}.${birthtimeNs}`}`;
}

/**
 * A restored dump is another database, or has another table; a cluster restored from its files, or failed over to, has
 * another timeline. Not by pg_control_checkpoint(), which knows the timeline only after the first checkpoint on it.
 */
export async function postgresHome(db: Kysely<Schema>): Promise<Home> {
  const { rows } = await sql<{ seesCluster: boolean; seesTimeline: boolean }>`select
    has_function_privilege('pg_control_system()', 'execute') as "seesCluster",
    has_function_privilege('pg_walfile_name(pg_lsn)', 'execute')
      and has_function_privilege('pg_current_wal_lsn()', 'execute') as "seesTimeline"`.execute(db);
  const [may] = rows;
  const cluster = may?.seesCluster ? sql`(select system_identifier from pg_control_system())` : sql`null`;
  const timeline = may?.seesTimeline
    ? sql`case when not pg_is_in_recovery() then substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) end`
    : sql`null`;
  return sql<string>`concat_ws('.', (select oid from pg_database where datname = current_database()),
    'store_state'::regclass::oid, ${cluster}, ${timeline})`;
}
