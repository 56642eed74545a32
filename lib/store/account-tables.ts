import type { Kysely } from 'kysely';
import type { DatabaseKind } from '#lib/sql/database-kind.ts';

/** What lib/accounts keeps of users: how they prove who they are. */
export interface AccountSchema {
  logins: LoginTable;
  identities: IdentityTable;
  sessions: SessionTable;
}

/** One row for each user who has ever been able to sign in. */
export interface LoginTable {
  user_id: string;
  /** As `$argon2id$…`; null: signs in by identity alone. */
  password_hash: string | null;
  /** The address that the user is known to hold, as addresses are compared: no other one is. */
  verified_email_key: string | null;
}

/** A user as an OpenID provider knows them. */
export interface IdentityTable {
  issuer: string;
  subject: string;
  user_id: string;
  created_ms: bigint;
}

export interface SessionTable {
  id: string;
  /** Of the token, which is kept nowhere. */
  token_hash: string;
  user_id: string;
  created_ms: bigint;
  used_ms: bigint;
  /** When it ends however much it is used. */
  ends_ms: bigint;
}

export async function createAccountTables(
  { schema }: Pick<Kysely<unknown>, 'schema'>,
  kind: DatabaseKind,
): Promise<void> {
  const int = kind === 'sqlite' ? 'integer' : 'bigint';

  await schema
    .createTable('logins')
    .addColumn('user_id', 'text', (column) => column.primaryKey().references('users.id'))
    .addColumn('password_hash', 'text')
    .addColumn('verified_email_key', 'text')
    .execute();

  await schema
    .createTable('identities')
    .addColumn('issuer', 'text', (column) => column.notNull())
    .addColumn('subject', 'text', (column) => column.notNull())
    .addColumn('user_id', 'text', (column) => column.notNull().references('users.id'))
    .addColumn('created_ms', int, (column) => column.notNull())
    .addPrimaryKeyConstraint('identities_pk', ['issuer', 'subject'])
    .execute();

  await schema
    .createTable('sessions')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('token_hash', 'text', (column) => column.notNull().unique())
    .addColumn('user_id', 'text', (column) => column.notNull().references('users.id'))
    .addColumn('created_ms', int, (column) => column.notNull())
    .addColumn('used_ms', int, (column) => column.notNull())
    .addColumn('ends_ms', int, (column) => column.notNull())
    .execute();
  await schema.createIndex('sessions_of_user').on('sessions').columns(['user_id', 'created_ms']).execute();
  await schema.createIndex('sessions_ended').on('sessions').columns(['ends_ms']).execute();
}
