import { randomUUID } from 'node:crypto';
import type { Kysely } from 'kysely';
import type { Access } from './access.ts';
import { isStorable, isUuid } from './identifiers.ts';
import type { Mutation } from './mutation.ts';
import type { User, UserPatch } from './records.ts';
import { found, rowChanges } from './row-changes.ts';
import type { Schema, UserTable } from './schema.ts';
import type { Actor, Users } from './store.ts';
import { StoreRefusal } from './store-errors.ts';

export function createUsers(access: Access): Users {
  return {
    create: (actor, input) => createUser(access, actor, input),
    get: async (id) => {
      const row = await access.read((db) => userRow(db, id));
      return row && userOf(row);
    },
    findByEmail: async (email) => {
      const row = await access.read((db) => userByEmail(db, email));
      return row && userOf(row);
    },
    update: (actor, id, patch) => updateUser(access, actor, id, patch),
  };
}

/** Mail servers that tell apart what differs in case alone are history; people who type it differently are not. */
export function emailKey(email: string): string {
  return email.trim().replace(OTHERS_THAN_LOOKALIKES, (part) => part.normalize('NFC').toLowerCase());
}

/**
 * Unicode makes plain letters of three signs: of the Kelvin sign a `k`. Who has the address with the sign in it would be
 * taken for who has the one with the letter.
 */
const OTHERS_THAN_LOOKALIKES = /[^\u{212a}\u{37e}\u{1fef}]+/gu;

function createUser(access: Access, actor: Actor, input: { readonly email: string; readonly name: string }) {
  return access.mutate(actor, async (mutation) => {
    await requireFreeEmail(mutation.tx, input.email);
    return insertUser(mutation, { id: randomUUID(), ...input });
  });
}

/** For callers who know that the address is free. */
export async function insertUser(
  mutation: Mutation,
  { id, email, name }: { readonly id: string; readonly email: string; readonly name: string },
): Promise<User> {
  const { tx, nowMs } = mutation;
  const row: UserTable = { id, email, email_key: emailKey(email), name, state: 'active', created_ms: nowMs };
  await mutation.record({ action: 'user.create', target: `users/${id}` });
  await tx.insertInto('users').values(row).execute();
  return userOf(row);
}

function updateUser(access: Access, actor: Actor, id: string, patch: UserPatch): Promise<User> {
  return access.mutate(actor, async (mutation) => {
    const { tx } = mutation;
    const row = found(await userRow(tx, id), 'user');
    const { email, name, state } = patch;
    const changes = rowChanges(row, { email, name, state });
    if (changes === undefined) return userOf(row);
    const email_key = email === undefined ? row.email_key : emailKey(email);
    if (email !== undefined && email_key !== row.email_key) await requireFreeEmail(tx, email);
    await mutation.record({ action: 'user.update', target: `users/${id}`, fields: changes.fields });
    const values = { ...changes.values, email_key };
    await tx.updateTable('users').set(values).where('id', '=', id).execute();
    // Or they would go on when the user is enabled again.
    if (values.state === 'disabled') await tx.deleteFrom('sessions').where('user_id', '=', id).execute();
    return userOf({ ...row, ...values });
  });
}

async function requireFreeEmail(tx: Kysely<Schema>, email: string): Promise<void> {
  // Not said which: a refusal may be logged.
  if (await userByEmail(tx, email)) throw new StoreRefusal('email_taken', 'another user has this address');
}

export async function userRow(db: Kysely<Schema>, id: string) {
  if (!isUuid(id)) return undefined;
  return db.selectFrom('users').selectAll().where('id', '=', id).executeTakeFirst();
}

export async function userByEmail(db: Kysely<Schema>, email: string) {
  if (!isStorable(email)) return undefined;
  return db.selectFrom('users').selectAll().where('email_key', '=', emailKey(email)).executeTakeFirst();
}

export function userOf(row: UserTable): User {
  return { id: row.id, email: row.email, name: row.name, state: row.state, createdMs: Number(row.created_ms) };
}
