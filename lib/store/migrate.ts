import { type Kysely, sql } from 'kysely';
import type { DatabaseKind } from './database.ts';
import { MIGRATIONS, type Migration } from './migrations.ts';
import type { Schema } from './schema.ts';
import { SchemaTooNewError } from './store-errors.ts';

/** Any number that nobody else's advisory locks have. */
const POSTGRES_LOCK = 7_435_210_918n;

/**
 * Brings the schema up to this version, each step in one transaction, whoever else does the same at this moment: they
 * wait for each other and look again. Kysely's own migrator can't tell a newer schema from a broken one, and on SQLite
 * leaves the locking to its caller.
 * @throws SchemaTooNewError having changed nothing
 */
export async function migrate(
  db: Kysely<Schema>,
  kind: DatabaseKind,
  migrations: readonly Migration[] = MIGRATIONS,
): Promise<void> {
  for (;;) {
    const done = await db.transaction().execute(async (tx) => {
      // On SQLite a transaction begins with the writer's lock.
      if (kind === 'postgres') await sql`select pg_advisory_xact_lock(${POSTGRES_LOCK})`.execute(tx);
      await tx.schema
        .createTable('schema_versions')
        .ifNotExists()
        .addColumn('version', kind === 'sqlite' ? 'integer' : 'bigint', (column) => column.primaryKey())
        .addColumn('applied_ms', kind === 'sqlite' ? 'integer' : 'bigint', (column) => column.notNull())
        .execute();
      const { version } = await tx
        .selectFrom('schema_versions')
        .select((eb) => eb.fn.coalesce(eb.fn.max('version'), sql<bigint>`0`).as('version'))
        .executeTakeFirstOrThrow();
      const current = Number(version);
      if (current > migrations.length) throw new SchemaTooNewError(current, migrations.length);
      const next = migrations[current];
      if (next === undefined) return true;
      await next(tx, kind);
      const applied = { version: BigInt(current + 1), applied_ms: BigInt(Date.now()) };
      await tx.insertInto('schema_versions').values(applied).execute();
      return false;
    });
    if (done) return;
  }
}
