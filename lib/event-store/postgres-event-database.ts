import { Kysely, PostgresDialect } from 'kysely';
import { type Migration, migrate } from '#lib/sql/migrate.ts';
import { createPostgresPool } from '#lib/sql/postgres-pool.ts';
import { requirePostgresUrl } from '#lib/sql/postgres-url.ts';
import { preparePostgres } from '#lib/sql/prepare-postgres.ts';
import type { EventDatabase } from './database.ts';
import { SEARCH_DEADLINE_MS } from './event-store.ts';
import { eventStoreHistory } from './migrations.ts';
import { PostgresDays } from './postgres-days.ts';
import type { EventSchema } from './schema.ts';

/** At once, of a process: each keeps a core of the server busy. Others wait for their turn, not for long. */
const MAX_SEARCHES = 4;
/** What is said by the server is more than what is said by our own clock: it has time to say it. */
const SEARCH_ANSWER_TIMEOUT_MS = SEARCH_DEADLINE_MS + 1_500;
/**
 * A partition is detached when those have ended who read from its table before, and so long none is attached: it is given
 * up soon, and tried again later.
 */
const MAINTENANCE_LOCK_TIMEOUT_MS = 1_000;
const MAINTENANCE_TIMEOUT_MS = 10_000;
const MAINTENANCE_ANSWER_TIMEOUT_MS = 12_000;

export interface OpenPostgresEventsOptions {
  readonly url: string;
  readonly readOnly?: boolean;
  /** How long to wait for the database. */
  readonly openDeadlineMs?: number | undefined;
  readonly migrations?: readonly Migration[] | undefined;
}

/**
 * PostgreSQL 15 or later, reached directly or through a pooler that keeps sessions.
 * @throws InvalidDatabaseUrlError
 * @throws SchemaTooNewError
 * @throws StoreUnavailableError
 */
export async function openPostgresEvents(options: OpenPostgresEventsOptions): Promise<EventDatabase> {
  const { readOnly = false, openDeadlineMs, migrations } = options;
  const url = requirePostgresUrl(options.url);
  await preparePostgres<EventSchema>(
    url,
    (db) => migrate(db, 'postgres', eventStoreHistory(migrations)),
    openDeadlineMs,
  );
  const db = new Kysely<EventSchema>({
    dialect: new PostgresDialect({
      pool: createPostgresPool({ url, preparesInserts: true }),
    }),
  });
  const searcher = new Kysely<EventSchema>({
    dialect: new PostgresDialect({
      pool: createPostgresPool({ url, maxConnections: MAX_SEARCHES, answerTimeoutMs: SEARCH_ANSWER_TIMEOUT_MS }),
    }),
  });
  const maintenance = new Kysely<EventSchema>({
    dialect: new PostgresDialect({
      pool: createPostgresPool({
        url,
        // Who makes a day does not wait for who drops one.
        maxConnections: 2,
        lockTimeoutMs: MAINTENANCE_LOCK_TIMEOUT_MS,
        statementTimeoutMs: MAINTENANCE_TIMEOUT_MS,
        answerTimeoutMs: MAINTENANCE_ANSWER_TIMEOUT_MS,
      }),
    }),
  });
  const days = new PostgresDays(maintenance);
  return {
    kind: 'postgres',
    reader: db,
    searcher,
    writer: readOnly ? undefined : db,
    days,
    close: async () => {
      await days.close();
      await maintenance.destroy();
      await searcher.destroy();
      await db.destroy();
    },
  };
}
