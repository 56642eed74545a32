import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import type { DatabaseKind } from '#lib/sql/database-kind.ts';
import type { Migration, MigrationDatabase, SchemaHistory } from '#lib/sql/migrate.ts';
import { createAccountTables } from './account-tables.ts';

export const MIGRATIONS: readonly Migration[] = [createControlPlane, createAccountTables];

export function controlPlaneHistory(migrations = MIGRATIONS): SchemaHistory {
  return { migrations, versionsTable: 'schema_versions', postgresLock: 7_435_210_918n };
}

async function createControlPlane(db: MigrationDatabase, kind: DatabaseKind): Promise<void> {
  // SQLite takes only this very word for a table's own row number.
  const int = kind === 'sqlite' ? 'integer' : 'bigint';
  const { schema } = db;

  await schema
    .createTable('store_state')
    .addColumn('id', int, (column) => column.primaryKey())
    .addColumn('number', int, (column) => column.notNull())
    .addColumn('history', 'text', (column) => column.notNull())
    .addColumn('home', 'text', (column) => column.notNull())
    .execute();
  await sql`insert into store_state (id, number, history, home) values (1, 0, ${randomUUID()}, '')`.execute(db);

  await schema
    .createTable('organizations')
    .addColumn('id', int, (column) => column.primaryKey())
    .addColumn('slug', 'text', (column) => column.notNull().unique())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('state', 'text', (column) => column.notNull())
    .addColumn('region', 'text', (column) => column.notNull())
    .addColumn('quotas', 'text', (column) => column.notNull())
    .addColumn('created_ms', int, (column) => column.notNull())
    .addColumn('updated_ms', int, (column) => column.notNull())
    .addColumn('version', int, (column) => column.notNull())
    .execute();

  await schema
    .createTable('projects')
    .addColumn('id', int, (column) => column.primaryKey())
    .addColumn('organization_id', int, (column) => column.notNull().references('organizations.id'))
    .addColumn('slug', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('platform', 'text', (column) => column.notNull())
    .addColumn('state', 'text', (column) => column.notNull())
    .addColumn('allowed_domains', 'text', (column) => column.notNull())
    .addColumn('filters', 'text', (column) => column.notNull())
    .addColumn('scrubbing', 'text', (column) => column.notNull())
    .addColumn('quotas', 'text', (column) => column.notNull())
    .addColumn('retention_days', int, (column) => column.notNull())
    .addColumn('created_ms', int, (column) => column.notNull())
    .addColumn('updated_ms', int, (column) => column.notNull())
    .addColumn('version', int, (column) => column.notNull())
    .addColumn('revision', int, (column) => column.notNull())
    .addUniqueConstraint('projects_slug', ['organization_id', 'slug'])
    .execute();
  await schema.createIndex('projects_listed').on('projects').columns(['organization_id', 'id']).execute();

  await schema
    .createTable('project_keys')
    .addColumn('id', int, (column) => column.primaryKey())
    .addColumn('project_id', int, (column) => column.notNull().references('projects.id'))
    .addColumn('public_key', 'text', (column) => column.notNull().unique())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('state', 'text', (column) => column.notNull())
    .addColumn('rate_limit', 'text')
    .addColumn('created_ms', int, (column) => column.notNull())
    .addColumn('updated_ms', int, (column) => column.notNull())
    .addColumn('version', int, (column) => column.notNull())
    .execute();
  await schema.createIndex('project_keys_listed').on('project_keys').columns(['project_id', 'id']).execute();

  await schema
    .createTable('users')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('email', 'text', (column) => column.notNull())
    .addColumn('email_key', 'text', (column) => column.notNull().unique())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('state', 'text', (column) => column.notNull())
    .addColumn('created_ms', int, (column) => column.notNull())
    .execute();

  await schema
    .createTable('members')
    .addColumn('organization_id', int, (column) => column.notNull().references('organizations.id'))
    .addColumn('user_id', 'text', (column) => column.notNull().references('users.id'))
    .addColumn('role', 'text', (column) => column.notNull())
    .addColumn('created_ms', int, (column) => column.notNull())
    .addColumn('number', int, (column) => column.notNull())
    .addPrimaryKeyConstraint('members_pk', ['organization_id', 'user_id'])
    .execute();
  await schema.createIndex('members_listed').on('members').columns(['organization_id', 'number']).execute();
  await schema.createIndex('members_of_user').on('members').columns(['user_id', 'organization_id']).execute();

  await schema
    .createTable('invitations')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('organization_id', int, (column) => column.notNull().references('organizations.id'))
    .addColumn('email', 'text', (column) => column.notNull())
    .addColumn('email_key', 'text', (column) => column.notNull())
    .addColumn('role', 'text', (column) => column.notNull())
    .addColumn('secret_hash', 'text', (column) => column.notNull().unique())
    .addColumn('expires_ms', int, (column) => column.notNull())
    .addColumn('created_ms', int, (column) => column.notNull())
    .addColumn('number', int, (column) => column.notNull())
    .addUniqueConstraint('invitations_email', ['organization_id', 'email_key'])
    .execute();
  await schema.createIndex('invitations_listed').on('invitations').columns(['organization_id', 'number']).execute();

  await schema
    .createTable('api_tokens')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('organization_id', int, (column) => column.notNull().references('organizations.id'))
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('scopes', 'text', (column) => column.notNull())
    .addColumn('secret_hash', 'text', (column) => column.notNull().unique())
    .addColumn('state', 'text', (column) => column.notNull())
    .addColumn('expires_ms', int)
    .addColumn('created_ms', int, (column) => column.notNull())
    .addColumn('last_used_ms', int)
    .addColumn('number', int, (column) => column.notNull())
    .execute();
  await schema.createIndex('api_tokens_listed').on('api_tokens').columns(['organization_id', 'number']).execute();

  await schema
    .createTable('regions')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('url', 'text', (column) => column.notNull())
    .execute();

  await schema
    .createTable('audit_log')
    .addColumn('id', int, (column) => column.primaryKey())
    .addColumn('time_ms', int, (column) => column.notNull())
    .addColumn('actor', 'text', (column) => column.notNull())
    .addColumn('action', 'text', (column) => column.notNull())
    .addColumn('target', 'text', (column) => column.notNull())
    .addColumn('organization_id', int)
    .addColumn('fields', 'text', (column) => column.notNull())
    .execute();
  await schema.createIndex('audit_log_listed').on('audit_log').columns(['organization_id', 'id']).execute();

  await schema
    .createTable('changes')
    .addColumn('number', int, (column) => column.primaryKey())
    .addColumn('organization_id', int, (column) => column.notNull())
    .addColumn('project_id', int)
    .execute();
}
