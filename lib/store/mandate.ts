import type { Kysely, Transaction } from 'kysely';
import type { Schema } from './schema.ts';
import type { Actor, By, Mandate } from './store.ts';
import { StoreRefusal } from './store-errors.ts';

export function actorOf(by: By): Actor {
  return typeof by === 'string' ? by : by.actor;
}

/**
 * Whether who was let in still may. To be asked behind the lock: who loses a role, or has a token revoked, while a change
 * waits has it no more when the change's turn comes.
 * @throws StoreRefusal `not_found`, `role_lost`
 */
export async function requireMandate(tx: Transaction<Schema>, by: By, nowMs: bigint): Promise<void> {
  if (typeof by === 'string') return;
  const [kind, id = ''] = by.actor.split(':', 2);
  if (kind === 'user') await requireRole(tx, by, id);
  if (kind === 'token' && !(await isInForce(tx, by.organizationId, id, nowMs))) {
    throw new StoreRefusal('not_found', 'the token is in force no more');
  }
}

async function requireRole(tx: Kysely<Schema>, { organizationId, roles }: Mandate, userId: string): Promise<void> {
  const member = await tx
    .selectFrom('members')
    .innerJoin('users', 'users.id', 'members.user_id')
    .select('members.role')
    .where('members.organization_id', '=', organizationId)
    .where('members.user_id', '=', userId)
    .where('users.state', '=', 'active')
    .executeTakeFirst();
  if (member === undefined) throw new StoreRefusal('not_found', 'the user is a member no more');
  if (!roles.includes(member.role)) throw new StoreRefusal('role_lost', 'the user has another role by now');
}

/** What a token is good for never changes; whether it is does. */
async function isInForce(tx: Kysely<Schema>, organizationId: bigint, id: string, nowMs: bigint): Promise<boolean> {
  const token = await tokensInForce(tx, nowMs)
    .select('api_tokens.id')
    .where('api_tokens.id', '=', id)
    .where('api_tokens.organization_id', '=', organizationId)
    .executeTakeFirst();
  return token !== undefined;
}

export function tokensInForce(db: Kysely<Schema>, nowMs: bigint) {
  return db
    .selectFrom('api_tokens')
    .innerJoin('organizations', 'organizations.id', 'api_tokens.organization_id')
    .where('api_tokens.state', '=', 'active')
    .where('organizations.state', '=', 'active')
    .where((eb) => eb.or([eb('api_tokens.expires_ms', 'is', null), eb('api_tokens.expires_ms', '>', nowMs)]));
}
