import { type CreateTableBuilder, sql } from 'kysely';
import type { DatabaseKind } from '#lib/sql/database-kind.ts';
import type { Migration, MigrationDatabase, SchemaHistory } from '#lib/sql/migrate.ts';

export const EVENT_MIGRATIONS: readonly Migration[] = [createEventTables, createOutcomeWriters, addEpochs];

/** Beside the control plane's in one database of PostgreSQL, and of its own pace. */
export function eventStoreHistory(migrations = EVENT_MIGRATIONS): SchemaHistory {
  return { migrations, versionsTable: 'event_schema_versions', postgresLock: 7_435_210_919n };
}

async function createEventTables(db: MigrationDatabase, kind: DatabaseKind): Promise<void> {
  const isSqlite = kind === 'sqlite';
  const int = isSqlite ? 'integer' : 'bigint';
  const bytes = isSqlite ? 'blob' : 'bytea';
  const { schema } = db;
  // What is found by its key alone is kept in the key's index.
  const keyed = <T extends CreateTableBuilder<string, string>>(table: T) =>
    isSqlite ? table.modifyEnd(sql`without rowid`) : table;
  const byDay = <T extends CreateTableBuilder<string, string>>(table: T) =>
    isSqlite ? table : table.modifyEnd(sql`partition by range (expires_day)`);
  const indexDays = (table: string) =>
    schema.createIndex(`${table}_expire`).on(table).columns(['expires_day']).execute();

  await keyed(
    schema
      .createTable('event_ids')
      .addColumn('project_id', int, (column) => column.notNull())
      .addColumn('event_id', bytes, (column) => column.notNull())
      .addColumn('received_ms', int, (column) => column.notNull())
      .addColumn('expires_day', int, (column) => column.notNull())
      .addPrimaryKeyConstraint('event_ids_pk', ['project_id', 'event_id']),
  ).execute();
  await indexDays('event_ids');

  // In the order of the lists, and of how they come. The body is last: what reads only the rest stops before it.
  await byDay(
    schema
      .createTable('events')
      .addColumn('project_id', int, (column) => column.notNull())
      .addColumn('received_ms', int, (column) => column.notNull())
      .addColumn('event_id', bytes, (column) => column.notNull())
      .addColumn('organization_id', int, (column) => column.notNull())
      .addColumn('expires_day', int, (column) => column.notNull())
      .addColumn('key_id', int, (column) => column.notNull())
      .addColumn('time_ms', int, (column) => column.notNull())
      .addColumn('category', 'text', (column) => column.notNull())
      .addColumn('level', 'text', (column) => column.notNull())
      .addColumn('title', 'text', (column) => column.notNull())
      .addColumn('culprit', 'text', (column) => column.notNull())
      .addColumn('platform', 'text', (column) => column.notNull())
      .addColumn('release', 'text', (column) => column.notNull())
      .addColumn('environment', 'text', (column) => column.notNull())
      .addColumn('transaction_name', 'text', (column) => column.notNull())
      .addColumn('user_label', 'text', (column) => column.notNull())
      .addColumn('sdk', 'text', (column) => column.notNull())
      .addColumn('search_text', 'text', (column) => column.notNull())
      .addColumn('body_encoding', int, (column) => column.notNull())
      .addColumn('body', bytes, (column) => column.notNull()),
  ).execute();
  await schema
    .createIndex('events_of_project')
    .on('events')
    .columns(['project_id', 'received_ms', 'event_id'])
    .execute();
  await schema
    .createIndex('events_of_organization')
    .on('events')
    .columns(['organization_id', 'received_ms', 'project_id', 'event_id'])
    .execute();

  await schema
    .createTable('attachments')
    .addColumn('project_id', int, (column) => column.notNull())
    .addColumn('event_id', bytes, (column) => column.notNull())
    .addColumn('id', 'text', (column) => column.notNull())
    .addColumn('organization_id', int, (column) => column.notNull())
    .addColumn('expires_day', int, (column) => column.notNull())
    .addColumn('filename', 'text', (column) => column.notNull())
    .addColumn('content_type', 'text', (column) => column.notNull())
    .addColumn('attachment_type', 'text', (column) => column.notNull())
    .addColumn('size_bytes', int, (column) => column.notNull())
    .addColumn('chunks_from_day', int, (column) => column.notNull())
    .addColumn('chunks_to_day', int, (column) => column.notNull())
    .addPrimaryKeyConstraint('attachments_pk', ['project_id', 'event_id', 'id'])
    .execute();
  await indexDays('attachments');

  await byDay(
    schema
      .createTable('attachment_chunks')
      .addColumn('project_id', int, (column) => column.notNull())
      .addColumn('event_id', bytes, (column) => column.notNull())
      .addColumn('attachment_id', 'text', (column) => column.notNull())
      .addColumn('chunk_index', int, (column) => column.notNull())
      .addColumn('expires_day', int, (column) => column.notNull())
      .addColumn('data', bytes, (column) => column.notNull())
      .addPrimaryKeyConstraint('attachment_chunks_pk', [
        'project_id',
        'event_id',
        'attachment_id',
        'chunk_index',
        'expires_day',
      ]),
  ).execute();
  if (isSqlite) await indexDays('attachment_chunks');

  await schema
    .createTable('user_reports')
    .addColumn('project_id', int, (column) => column.notNull())
    .addColumn('event_id', bytes, (column) => column.notNull())
    .addColumn('digest', bytes, (column) => column.notNull())
    .addColumn('organization_id', int, (column) => column.notNull())
    .addColumn('key_id', int, (column) => column.notNull())
    .addColumn('received_ms', int, (column) => column.notNull())
    .addColumn('expires_day', int, (column) => column.notNull())
    .addColumn('body', bytes, (column) => column.notNull())
    .addPrimaryKeyConstraint('user_reports_pk', ['project_id', 'event_id', 'digest'])
    .execute();
  await indexDays('user_reports');

  await keyed(
    schema
      .createTable('outcome_hours')
      .addColumn('organization_id', int, (column) => column.notNull())
      .addColumn('hour_ms', int, (column) => column.notNull())
      .addColumn('project_id', int, (column) => column.notNull())
      .addColumn('key_id', int, (column) => column.notNull())
      .addColumn('outcome', 'text', (column) => column.notNull())
      .addColumn('reason', 'text', (column) => column.notNull())
      .addColumn('category', 'text', (column) => column.notNull())
      .addColumn('quantity', int, (column) => column.notNull())
      .addColumn('times', int, (column) => column.notNull())
      .addPrimaryKeyConstraint('outcome_hours_pk', [
        'organization_id',
        'hour_ms',
        'project_id',
        'key_id',
        'outcome',
        'reason',
        'category',
      ]),
  ).execute();

  await schema.createIndex('outcome_hours_expire').on('outcome_hours').columns(['hour_ms']).execute();

  await keyed(
    schema
      .createTable('outcome_totals')
      .addColumn('organization_id', int, (column) => column.notNull())
      .addColumn('project_id', int, (column) => column.notNull())
      .addColumn('key_id', int, (column) => column.notNull())
      .addColumn('outcome', 'text', (column) => column.notNull())
      .addColumn('reason', 'text', (column) => column.notNull())
      .addColumn('category', 'text', (column) => column.notNull())
      .addColumn('quantity', int, (column) => column.notNull())
      .addColumn('times', int, (column) => column.notNull())
      .addPrimaryKeyConstraint('outcome_totals_pk', [
        'organization_id',
        'project_id',
        'key_id',
        'outcome',
        'reason',
        'category',
      ]),
  ).execute();

  await keyed(
    schema
      .createTable('log_positions')
      .addColumn('consumer_group', 'text', (column) => column.notNull())
      .addColumn('topic_id', 'text', (column) => column.notNull())
      .addColumn('topic_partition', int, (column) => column.notNull())
      .addColumn('next_offset', int, (column) => column.notNull())
      .addPrimaryKeyConstraint('log_positions_pk', ['consumer_group', 'topic_id', 'topic_partition']),
  ).execute();

  if (isSqlite) return;
  // Compressed already, or of a kind that mostly is.
  await sql`alter table events alter column body set storage external`.execute(db);
  await sql`alter table attachment_chunks alter column data set storage external`.execute(db);
}

async function createOutcomeWriters({ schema }: MigrationDatabase, kind: DatabaseKind): Promise<void> {
  const isSqlite = kind === 'sqlite';
  const int = isSqlite ? 'integer' : 'bigint';
  const table = schema
    .createTable('outcome_writers')
    .addColumn('consumer_group', 'text', (column) => column.notNull())
    .addColumn('topic_id', 'text', (column) => column.notNull())
    .addColumn('topic_partition', int, (column) => column.notNull())
    .addColumn('writer', 'text', (column) => column.notNull())
    .addColumn('last_sequence', int, (column) => column.notNull())
    .addColumn('expires_day', int, (column) => column.notNull())
    .addPrimaryKeyConstraint('outcome_writers_pk', ['consumer_group', 'topic_id', 'topic_partition', 'writer']);
  await (isSqlite ? table.modifyEnd(sql`without rowid`) : table).execute();
  await schema.createIndex('outcome_writers_expire').on('outcome_writers').columns(['expires_day']).execute();
}

async function addEpochs({ schema }: MigrationDatabase, kind: DatabaseKind): Promise<void> {
  const int = kind === 'sqlite' ? 'integer' : 'bigint';
  for (const column of ['epoch', 'epoch_offset'])
    await schema.alterTable('log_positions').addColumn(column, int).execute();
}
