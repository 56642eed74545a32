import { randomUUID } from 'node:crypto';
import type { Kysely } from 'kysely';
import type { Access } from './access.ts';
import { isUuid } from './identifiers.ts';
import { insertMember, requireOrganization } from './members.ts';
import type { Mutation } from './mutation.ts';
import { Paging } from './page.ts';
import type { Invitation, Member, NewInvitation } from './records.ts';
import { found } from './row-changes.ts';
import type { InvitationTable, Schema } from './schema.ts';
import { hashOfSecret, newInvitationSecret } from './secrets.ts';
import type { By, Invitations, Page, PageRequest } from './store.ts';
import { StoreRefusal } from './store-errors.ts';
import { emailKey } from './users.ts';

export function createInvitations(access: Access): Invitations {
  return {
    create: (by, organizationId, input) => createInvitation(access, by, organizationId, input),
    list: (organizationId, query) => listInvitations(access, organizationId, query),
    find: async (secret) => {
      const row = await access.read((db) =>
        openInvitations(db, BigInt(Date.now()))
          .where('invitations.secret_hash', '=', hashOfSecret(secret))
          .executeTakeFirst(),
      );
      return row && invitationOf(row);
    },
    accept: (by, secret, userId) => acceptInvitation(access, by, secret, userId),
    revoke: (by, organizationId, id) => revokeInvitation(access, by, organizationId, id),
  };
}

/** Those that can be accepted now: of a disabled organization none, until it is enabled again. */
export function openInvitations(db: Kysely<Schema>, nowMs: bigint) {
  return db
    .selectFrom('invitations')
    .innerJoin('organizations', 'organizations.id', 'invitations.organization_id')
    .selectAll('invitations')
    .where('organizations.state', '=', 'active')
    .where('invitations.expires_ms', '>', nowMs);
}

function createInvitation(access: Access, by: By, organizationId: bigint, input: NewInvitation) {
  const { secret, hash } = newInvitationSecret();
  return access.mutate(by, async (mutation) => {
    const { tx, nowMs } = mutation;
    await requireOrganization(tx, organizationId);
    const email_key = emailKey(input.email);
    await requireNoMember(mutation, organizationId, email_key);
    await endEarlier(mutation, organizationId, email_key);
    const id = randomUUID();
    const number = await mutation.record({
      action: 'invitation.create',
      target: targetOf(organizationId, id),
      organizationId,
    });
    const row: InvitationTable = {
      id,
      organization_id: organizationId,
      email: input.email,
      email_key,
      role: input.role,
      secret_hash: hash,
      expires_ms: BigInt(input.expiresMs),
      created_ms: nowMs,
      number,
    };
    await tx.insertInto('invitations').values(row).execute();
    return { invitation: invitationOf(row), secret };
  });
}

/** The one for the same address, if there is one. */
async function endEarlier(mutation: Mutation, organizationId: bigint, email_key: string): Promise<void> {
  const earlier = await mutation.tx
    .selectFrom('invitations')
    .select(['id', 'expires_ms'])
    .where('organization_id', '=', organizationId)
    .where('email_key', '=', email_key)
    .executeTakeFirst();
  if (earlier === undefined) return;
  const { id, expires_ms } = earlier;
  if (expires_ms > mutation.nowMs) await recordRevocation(mutation, organizationId, id);
  await mutation.tx.deleteFrom('invitations').where('id', '=', id).execute();
}

function recordRevocation(mutation: Mutation, organizationId: bigint, id: string): Promise<bigint> {
  return mutation.record({ action: 'invitation.revoke', target: targetOf(organizationId, id), organizationId });
}

async function requireNoMember({ tx }: Mutation, organizationId: bigint, email_key: string): Promise<void> {
  const member = await tx
    .selectFrom('members')
    .innerJoin('users', 'users.id', 'members.user_id')
    .select('users.id')
    .where('members.organization_id', '=', organizationId)
    .where('users.email_key', '=', email_key)
    .executeTakeFirst();
  if (member !== undefined) throw new StoreRefusal('member_exists', 'a member has this address');
}

async function listInvitations(access: Access, organizationId: bigint, query: PageRequest): Promise<Page<Invitation>> {
  const paging = new Paging(query, 'invitations', organizationId);
  const rows = await access.read((db) =>
    db
      .selectFrom('invitations')
      .selectAll()
      .where('organization_id', '=', organizationId)
      .where('expires_ms', '>', BigInt(Date.now()))
      .where('number', '>', paging.after ?? 0n)
      .orderBy('number')
      .limit(paging.limit)
      .execute(),
  );
  return paging.page(rows, ({ number }) => number, invitationOf);
}

function acceptInvitation(access: Access, by: By, secret: string, userId: string): Promise<Member> {
  const hash = hashOfSecret(secret);
  return access.mutate(by, async (mutation) => {
    const { tx, nowMs } = mutation;
    const row = await openInvitations(tx, nowMs).where('invitations.secret_hash', '=', hash).executeTakeFirst();
    const { id, organization_id: organizationId, role } = found(row, 'invitation');
    const member = await insertMember(mutation, organizationId, userId, role);
    await mutation.record({ action: 'invitation.accept', target: targetOf(organizationId, id), organizationId });
    await tx.deleteFrom('invitations').where('id', '=', id).execute();
    return member;
  });
}

function revokeInvitation(access: Access, by: By, organizationId: bigint, id: string): Promise<Invitation> {
  return access.mutate(by, async (mutation) => {
    const { tx } = mutation;
    if (!isUuid(id)) throw new StoreRefusal('not_found', 'invitation not found');
    const row = await tx
      .selectFrom('invitations')
      .selectAll()
      .where('organization_id', '=', organizationId)
      .where('id', '=', id)
      .executeTakeFirst();
    const invitation = invitationOf(found(row, 'invitation'));
    await recordRevocation(mutation, organizationId, id);
    await tx.deleteFrom('invitations').where('id', '=', id).execute();
    return invitation;
  });
}

function targetOf(organizationId: bigint, id: string): string {
  return `organizations/${organizationId}/invitations/${id}`;
}

function invitationOf(row: InvitationTable): Invitation {
  return {
    id: row.id,
    organizationId: row.organization_id,
    email: row.email,
    role: row.role,
    expiresMs: Number(row.expires_ms),
    createdMs: Number(row.created_ms),
  };
}
