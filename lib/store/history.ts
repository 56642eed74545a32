import { randomUUID } from 'node:crypto';
import { statSync } from 'node:fs';
import { type Kysely, sql } from 'kysely';
import type { DatabaseKind } from '#lib/sql/database-kind.ts';
import type { Schema } from './schema.ts';

/** More mutations than any backup is behind what was lost. */
const NUMBERS_LEFT_OUT = 1_000_000_000n;

/**
 * A restored database is at home elsewhere than the one that the backup was made of, and has forgotten mutations whose
 * numbers watchers, relays and clients have seen as cursors, revisions and etags. So it begins a new history: old cursors
 * say `reset`, and no number is given to two mutations. Where a database moved with all its data, that costs one reset.
 */
export async function settleHistory(db: Kysely<Schema>, kind: DatabaseKind, home: string): Promise<void> {
  const { home: known } = await db.selectFrom('store_state').select('home').executeTakeFirstOrThrow();
  if (known === home) return;
  await db.transaction().execute(async (tx) => {
    const state = tx.selectFrom('store_state').select(['home', 'number']);
    const row = await (kind === 'postgres' ? state.forUpdate() : state).executeTakeFirstOrThrow();
    if (row.home === home) return;
    const isNew = row.home === '';
    const history = isNew ? {} : { history: randomUUID(), number: row.number + NUMBERS_LEFT_OUT };
    await tx
      .updateTable('store_state')
      .set({ home, ...history })
      .execute();
  });
}

/** A copy has another inode, or was born later where the inode is used again. */
export function sqliteHome(file: string): string {
  const { ino, birthtimeNs } = statSync(file, { bigint: true });
  return `${ino}.${birthtimeNs}`;
}

/** A restored dump is another database; a cluster restored from its files, or failed over to, has another timeline. */
export async function postgresHome(db: Kysely<Schema>): Promise<string> {
  const { rows } = await sql<{ oid: string; mayLook: boolean }>`select oid::text,
    has_function_privilege('pg_control_system()', 'execute')
      and has_function_privilege('pg_control_checkpoint()', 'execute') as "mayLook"
    from pg_database where datname = current_database()`.execute(db);
  const [database] = rows;
  if (!database?.mayLook) return `${database?.oid}`;
  const cluster = await sql<{ id: string; timeline: number }>`select system_identifier::text as id,
    timeline_id as timeline from pg_control_system(), pg_control_checkpoint()`.execute(db);
  const [{ id, timeline } = { id: '', timeline: 0 }] = cluster.rows;
  return `${database.oid}.${id}.${timeline}`;
}
