import { type Kysely, sql } from 'kysely';
import { SchemaTooNewError } from './database-errors.ts';
import type { DatabaseKind } from './database-kind.ts';

/** Runs in a transaction of its own. Never changed once released: what is wrong in one is mended by a later one. */
export type Migration = (db: MigrationDatabase, kind: DatabaseKind) => Promise<void>;

/** Without today's tables: a migration must go on to mean what it meant when it was written. */
export type MigrationDatabase = Pick<Kysely<unknown>, 'schema' | 'getExecutor'>;

/** Tables that belong together, and how they came about. Several such sets may share a database. */
export interface SchemaHistory<Versions extends string = string> {
  /** The schema's version is how many of them have run. */
  readonly migrations: readonly Migration[];
  /** The table that says which have run. */
  readonly versionsTable: Versions;
  /** The advisory lock on PostgreSQL: any number that nobody else's have. */
  readonly postgresLock: bigint;
}

/** One row for each migration that has run. */
export interface SchemaVersionTable {
  version: bigint;
  applied_ms: bigint;
}

/**
 * Brings the schema up to this version, each step in one transaction, whoever else does the same at this moment: they
 * wait for each other and look again. Kysely's own migrator can't tell a newer schema from a broken one, and on SQLite
 * leaves the locking to its caller.
 * @throws SchemaTooNewError having changed nothing
 */
export async function migrate<Schema>(
  db: Kysely<Schema>,
  kind: DatabaseKind,
  { migrations, versionsTable, postgresLock }: SchemaHistory,
): Promise<void> {
  for (;;) {
    // Whatever the database's default: who has waited for the lock must see what others have migrated.
    const transaction = db.transaction().setIsolationLevel('read committed');
    const done = await transaction.execute(async (tx) => {
      // On SQLite a transaction begins with the writer's lock.
      if (kind === 'postgres') await sql`select pg_advisory_xact_lock(${postgresLock})`.execute(tx);
      await tx.schema
        .createTable(versionsTable)
        .ifNotExists()
        .addColumn('version', kind === 'sqlite' ? 'integer' : 'bigint', (column) => column.primaryKey())
        .addColumn('applied_ms', kind === 'sqlite' ? 'integer' : 'bigint', (column) => column.notNull())
        .execute();
      const table = sql.table(versionsTable);
      const { rows } = await sql<{
        version: bigint;
      }>`select coalesce(max(version), 0) as version from ${table}`.execute(tx);
      const current = Number(rows[0]?.version);
      if (current > migrations.length) throw new SchemaTooNewError(current, migrations.length);
      const next = migrations[current];
      if (next === undefined) return true;
      await next(tx, kind);
      const applied = { version: BigInt(current + 1), applied_ms: BigInt(Date.now()) };
      await sql`insert into ${table} (version, applied_ms) values (${applied.version}, ${applied.applied_ms})`.execute(
        tx,
      );
      return false;
    });
    if (done) return;
  }
}
