import { type Kysely, sql } from 'kysely';
import pg from 'pg';
import type { Days } from './database.ts';
import type { EventSchema } from './schema.ts';

const TABLES = ['events', 'attachment_chunks'] as const;
type PartitionedTable = (typeof TABLES)[number];

/** So many days are made ahead: at midnight nobody waits for a table to be made. */
const DAYS_AHEAD = 2;

/** Advisory locks: any numbers that nobody else's have. Of who makes or drops tables, and of who detaches them. */
const TABLES_LOCK = 7_435_210_920n;
const DETACH_LOCK = 7_435_210_921n;

/** PostgreSQL's state where no partition takes a row. It has no other here, as there are no checks but the partitions'. */
const CHECK_VIOLATION = '23514';

/**
 * Partitions, one a day and table, made by whoever first needs them and dropped whole. Neither stops reads or writes: a
 * table is made apart and then attached, and detached concurrently before it is dropped; "partition of", and dropping what
 * is attached, would wait for every transaction that is under way and hold up all that come after.
 *
 * @param maintenance for what may take longer than queries may, on connections of its own.
 */
export class PostgresDays implements Days {
  readonly #maintenance: Kysely<EventSchema>;
  readonly #known = new Set<number>();
  #ahead: Promise<void> | undefined;

  constructor(maintenance: Kysely<EventSchema>) {
    this.#maintenance = maintenance;
  }

  async prepare(days: ReadonlySet<number>): Promise<void> {
    const missing = [...days].filter((day) => !this.#known.has(day));
    if (missing.length > 0) await this.#make(missing);
    this.#makeAhead(days);
  }

  isMissing(error: unknown): boolean {
    const isMissing = error instanceof pg.DatabaseError && error.code === CHECK_VIOLATION;
    if (isMissing) this.#known.clear();
    return isMissing;
  }

  async drop(lastDay: number): Promise<boolean> {
    return this.#maintenance.connection().execute(async (db) => {
      const { rows } = await sql<{ isMine: boolean }>`select pg_try_advisory_lock(${DETACH_LOCK}) as "isMine"`.execute(
        db,
      );
      // Somebody else is at it.
      if (!rows[0]?.isMine) return false;
      try {
        const expired = (await attachedDays(db)).filter(({ day }) => day <= lastDay);
        const [first] = expired;
        for (const { table, day, isPending } of expired.filter(({ day }) => day === first?.day)) {
          this.#known.delete(day);
          // One that was interrupted before is only to be finished.
          const how = sql.raw(isPending ? 'finalize' : 'concurrently');
          await sql`alter table ${sql.table(table)} detach partition ${sql.table(nameOf(table, day))} ${how}`.execute(
            db,
          );
        }
        await dropDetached(db);
        return expired.some(({ day }) => day !== first?.day);
      } finally {
        await sql`select pg_advisory_unlock(${DETACH_LOCK})`.execute(db);
      }
    });
  }

  async close(): Promise<void> {
    await this.#ahead;
  }

  #makeAhead(days: ReadonlySet<number>): void {
    if (this.#ahead !== undefined) return;
    const next = new Set<number>();
    for (const day of days) {
      for (let ahead = 1; ahead <= DAYS_AHEAD; ahead++) if (!this.#known.has(day + ahead)) next.add(day + ahead);
    }
    if (next.size === 0) return;
    // It is tried again with the next batch.
    this.#ahead = this.#make([...next])
      .catch(() => undefined)
      .finally(() => {
        this.#ahead = undefined;
      });
  }

  async #make(days: readonly number[]): Promise<void> {
    await this.#maintenance.transaction().execute(async (tx) => {
      await sql`select pg_advisory_xact_lock(${TABLES_LOCK})`.execute(tx);
      const attached = new Set((await attachedDays(tx)).map(({ table, day }) => nameOf(table, day)));
      for (const day of days) {
        for (const table of TABLES) if (!attached.has(nameOf(table, day))) await makePartition(tx, table, day);
      }
    });
    for (const day of days) this.#known.add(day);
  }
}

async function makePartition(db: Kysely<EventSchema>, table: PartitionedTable, day: number): Promise<void> {
  const [parent, partition] = [sql.table(table), sql.table(nameOf(table, day))];
  // One that retention has detached, and had no time to drop.
  await sql`drop table if exists ${partition}`.execute(db);
  await sql`create table ${partition} (like ${parent} including all)`.execute(db);
  await sql`alter table ${parent} attach partition ${partition}
    for values from (${sql.lit(day)}) to (${sql.lit(day + 1)})`.execute(db);
}

async function dropDetached(db: Kysely<EventSchema>): Promise<void> {
  await db.transaction().execute(async (tx) => {
    await sql`select pg_advisory_xact_lock(${TABLES_LOCK})`.execute(tx);
    const { rows } = await sql<{ name: string }>`select relname as name from pg_class
      where relkind = 'r' and relnamespace = current_schema()::regnamespace
        and relname ~ ${`^(${TABLES.join('|')})_day_[0-9]+$`}
        and not exists (select 1 from pg_inherits where inhrelid = pg_class.oid)`.execute(tx);
    for (const { name } of rows) await sql`drop table ${sql.table(name)}`.execute(tx);
  });
}

interface AttachedDay {
  readonly table: PartitionedTable;
  readonly day: number;
  /** Its detaching was begun, and not ended. */
  readonly isPending: boolean;
}

/** Oldest first. */
async function attachedDays(db: Kysely<EventSchema>): Promise<AttachedDay[]> {
  const { rows } = await sql<{ parent: PartitionedTable; name: string; isPending: boolean }>`
    select parent.relname as parent, partition.relname as name, inhdetachpending as "isPending"
    from pg_inherits
      join pg_class parent on parent.oid = inhparent
      join pg_class partition on partition.oid = inhrelid
    where parent.relname in (${sql.join([...TABLES])}) and parent.relkind = 'p'
      and parent.relnamespace = current_schema()::regnamespace`.execute(db);
  return rows
    .map(({ parent, name, isPending }) => ({ table: parent, day: Number(name.split('_').at(-1)), isPending }))
    .sort((a, b) => a.day - b.day);
}

function nameOf(table: PartitionedTable, day: number): string {
  return `${table}_day_${day}`;
}
