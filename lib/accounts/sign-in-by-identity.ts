import { randomUUID } from 'node:crypto';
import type { Kysely } from 'kysely';
import type { Access } from '#lib/store/access.ts';
import { openInvitations } from '#lib/store/invitations.ts';
import type { Mutation } from '#lib/store/mutation.ts';
import type { User } from '#lib/store/records.ts';
import type { Schema } from '#lib/store/schema.ts';
import { emailKey, insertUser, userByEmail, userOf, userRow } from '#lib/store/users.ts';
import type { Identity, IdentityResult, SignUpMode } from './accounts.ts';
import type { Sessions } from './sessions.ts';

export interface IdentityContext {
  readonly access: Access;
  readonly sessions: Sessions;
  readonly signUp: SignUpMode;
}

/** All in one transaction: nothing that it looks at changes before it ends, and who it is turns out in it. */
export async function signInByIdentity(context: IdentityContext, identity: Identity): Promise<IdentityResult> {
  const { access, sessions } = context;
  return access.mutate('system', async (mutation) => {
    const found = await userOfIdentity(context, mutation, identity);
    if (typeof found === 'string') return { kind: found };
    if (found.state !== 'active') return { kind: 'refused' };
    return { kind: 'signed_in', ...(await sessions.begin(mutation.tx, found)) };
  });
}

async function userOfIdentity(
  { signUp, sessions }: IdentityContext,
  mutation: Mutation,
  identity: Identity,
): Promise<User | 'unverified' | 'closed' | 'not_invited'> {
  const { tx } = mutation;
  const known = await identityRow(tx, identity);
  if (known !== undefined) {
    const row = await userRow(tx, known.user_id);
    if (row === undefined) throw new Error('an identity has no user');
    return userOf(row);
  }
  const email = identity.verifiedEmail;
  if (email === undefined) return 'unverified';
  const holder = await userByEmail(tx, email);
  if (holder !== undefined) {
    const user = userOf(holder);
    mutation.actAs(`user:${user.id}`);
    // Nobody disabled comes back by another way in, and keeps what they had.
    if (user.state === 'active') await link(mutation, sessions, user, identity);
    return user;
  }
  if (signUp === 'closed') return 'closed';
  if (signUp === 'invited' && !(await isInvited(mutation, email))) return 'not_invited';
  const id = randomUUID();
  mutation.actAs(`user:${id}`);
  const user = await insertUser(mutation, { id, email, name: identity.name });
  const verified_email_key = emailKey(email);
  await tx.insertInto('logins').values({ user_id: user.id, password_hash: null, verified_email_key }).execute();
  await insertIdentity(mutation, user.id, identity);
  return user;
}

/** See accounts.ts, 5. */
async function link(mutation: Mutation, sessions: Sessions, user: User, identity: Identity): Promise<void> {
  const { tx } = mutation;
  const key = emailKey(user.email);
  const login = await tx.selectFrom('logins').selectAll().where('user_id', '=', user.id).executeTakeFirst();
  if (login === undefined) {
    await tx.insertInto('logins').values({ user_id: user.id, password_hash: null, verified_email_key: key }).execute();
  } else if (login.verified_email_key !== key) {
    const values = { password_hash: null, verified_email_key: key };
    await tx.updateTable('logins').set(values).where('user_id', '=', user.id).execute();
    await tx.deleteFrom('identities').where('user_id', '=', user.id).execute();
    await sessions.endAll(tx, user.id);
    await mutation.record({ action: 'user.claim', target: `users/${user.id}`, fields: ['password', 'email'] });
  }
  await insertIdentity(mutation, user.id, identity);
}

async function insertIdentity(
  mutation: Mutation,
  user_id: string,
  { issuer, subject }: Pick<Identity, 'issuer' | 'subject'>,
): Promise<void> {
  await mutation.record({ action: 'user.link', target: `users/${user_id}`, fields: ['identities'] });
  await mutation.tx.insertInto('identities').values({ issuer, subject, user_id, created_ms: mutation.nowMs }).execute();
}

function identityRow(db: Kysely<Schema>, identity: Identity) {
  return db
    .selectFrom('identities')
    .selectAll()
    .where('issuer', '=', identity.issuer)
    .where('subject', '=', identity.subject)
    .executeTakeFirst();
}

/** The address is verified: its invitations are for who signs in. They are still to be accepted. */
async function isInvited({ tx, nowMs }: Mutation, email: string): Promise<boolean> {
  const invitation = await openInvitations(tx, nowMs)
    .where('invitations.email_key', '=', emailKey(email))
    .executeTakeFirst();
  return invitation !== undefined;
}
