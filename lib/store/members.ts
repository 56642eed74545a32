import type { Kysely } from 'kysely';
import type { Access } from './access.ts';
import { isUuid } from './identifiers.ts';
import type { Mutation } from './mutation.ts';
import { Paging } from './page.ts';
import type { Member, Role } from './records.ts';
import { found } from './row-changes.ts';
import type { MemberTable, Schema } from './schema.ts';
import type { By, Members, Page, PageRequest } from './store.ts';
import { StoreRefusal } from './store-errors.ts';
import { userRow } from './users.ts';

export function createMembers(access: Access): Members {
  return {
    add: (by, organizationId, userId, role) =>
      access.mutate(by, async (mutation) => {
        await requireOrganization(mutation.tx, organizationId);
        return insertMember(mutation, organizationId, userId, role);
      }),
    get: async (organizationId, userId) => {
      const row = await access.read((db) => memberRow(db, organizationId, userId));
      return row && memberOf(row);
    },
    list: (organizationId, query) => listMembers(access, organizationId, query),
    setRole: (by, organizationId, userId, role) => setRole(access, by, organizationId, userId, role),
    remove: (by, organizationId, userId) => removeMember(access, by, organizationId, userId),
  };
}

/** @throws StoreRefusal `not_found` for the user, also a disabled one, `member_exists` */
export async function insertMember(
  mutation: Mutation,
  organizationId: bigint,
  userId: string,
  role: Role,
): Promise<Member> {
  const { tx, nowMs } = mutation;
  const user = await userRow(tx, userId);
  const { email } = found(user?.state === 'active' ? user : undefined, 'user');
  if (await memberRow(tx, organizationId, userId)) {
    throw new StoreRefusal('member_exists', 'the user is a member already');
  }
  const target = `organizations/${organizationId}/members/${userId}`;
  const number = await mutation.record({ action: 'member.add', target, organizationId, fields: ['role'] });
  const row: MemberTable = { organization_id: organizationId, user_id: userId, role, created_ms: nowMs, number };
  await tx.insertInto('members').values(row).execute();
  return memberOf({ ...row, email });
}

async function listMembers(access: Access, organizationId: bigint, query: PageRequest): Promise<Page<Member>> {
  const paging = new Paging(query, 'members', organizationId);
  const rows = await access.read((db) =>
    memberRows(db)
      .where('members.organization_id', '=', organizationId)
      .where('members.number', '>', paging.after ?? 0n)
      .orderBy('members.number')
      .limit(paging.limit)
      .execute(),
  );
  return paging.page(rows, ({ number }) => number, memberOf);
}

function setRole(access: Access, by: By, organizationId: bigint, userId: string, role: Role): Promise<Member> {
  return access.mutate(by, async (mutation) => {
    const { tx } = mutation;
    const row = found(await memberRow(tx, organizationId, userId), 'member');
    if (row.role === role) return memberOf(row);
    if (row.role === 'owner') await requireAnotherOwner(tx, organizationId, userId);
    const target = `organizations/${organizationId}/members/${userId}`;
    await mutation.record({ action: 'member.update', target, organizationId, fields: ['role'] });
    await tx
      .updateTable('members')
      .set({ role })
      .where('organization_id', '=', organizationId)
      .where('user_id', '=', userId)
      .execute();
    return memberOf({ ...row, role });
  });
}

function removeMember(access: Access, by: By, organizationId: bigint, userId: string): Promise<Member> {
  return access.mutate(by, async (mutation) => {
    const { tx } = mutation;
    const row = found(await memberRow(tx, organizationId, userId), 'member');
    if (row.role === 'owner') await requireAnotherOwner(tx, organizationId, userId);
    const target = `organizations/${organizationId}/members/${userId}`;
    await mutation.record({ action: 'member.remove', target, organizationId });
    await tx
      .deleteFrom('members')
      .where('organization_id', '=', organizationId)
      .where('user_id', '=', userId)
      .execute();
    return memberOf(row);
  });
}

/** One who can sign in: nobody else could make another one. */
async function requireAnotherOwner(tx: Kysely<Schema>, organizationId: bigint, userId: string): Promise<void> {
  const another = await tx
    .selectFrom('members')
    .innerJoin('users', 'users.id', 'members.user_id')
    .select('members.user_id')
    .where('members.organization_id', '=', organizationId)
    .where('members.role', '=', 'owner')
    .where('members.user_id', '!=', userId)
    .where('users.state', '=', 'active')
    .executeTakeFirst();
  if (another === undefined) throw new StoreRefusal('last_owner', 'an organization keeps an owner');
}

/** @throws StoreRefusal `not_found` */
export async function requireOrganization(tx: Kysely<Schema>, id: bigint): Promise<void> {
  found(await tx.selectFrom('organizations').select('id').where('id', '=', id).executeTakeFirst(), 'organization');
}

function memberRows(db: Kysely<Schema>) {
  return db
    .selectFrom('members')
    .innerJoin('users', 'users.id', 'members.user_id')
    .selectAll('members')
    .select('users.email');
}

async function memberRow(db: Kysely<Schema>, organizationId: bigint, userId: string) {
  if (!isUuid(userId)) return undefined;
  return memberRows(db)
    .where('members.organization_id', '=', organizationId)
    .where('members.user_id', '=', userId)
    .executeTakeFirst();
}

function memberOf(row: MemberTable & { readonly email: string }): Member {
  return {
    organizationId: row.organization_id,
    userId: row.user_id,
    email: row.email,
    role: row.role,
    createdMs: Number(row.created_ms),
  };
}
