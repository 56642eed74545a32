import { describe, expect, test } from 'vitest';
import type { Role, User } from './records.ts';
import type { By, Mandate, Store } from './store.ts';
import { expectRefusal, newUser, type StoreSpace } from './store-harness.ts';

export function describeMandates(getStore: () => Store, getSpace: () => StoreSpace): void {
  async function newOwned(...roles: Role[]): Promise<{ id: bigint; members: User[] }> {
    const { organizations, members } = getStore();
    const { id } = await organizations.create('system', { name: 'Own', region: '' });
    const users: User[] = [];
    for (const role of roles) {
      const user = await newUser(getStore());
      await members.add('system', id, user.id, role);
      users.push(user);
    }
    return { id, members: users };
  }

  const byRole = (organizationId: bigint, { id }: User, ...roles: Role[]): Mandate => {
    return { actor: `user:${id}`, organizationId, roles };
  };

  describe('mandates', () => {
    test('are for who has one of the roles, and in its organization only', async () => {
      const store = getStore();
      const { id, members } = await newOwned('owner', 'member');
      const [owner, member] = members as [User, User];
      const other = await newOwned('owner');
      const make = (by: Mandate) => store.projects.create(by, id, { name: 'App' });
      expect(await make(byRole(id, owner, 'owner', 'admin'))).toMatchObject({ name: 'App' });
      await expectRefusal('role_lost', make(byRole(id, member, 'owner', 'admin')));
      await expectRefusal('not_found', make(byRole(id, other.members[0] as User, 'owner', 'admin')));
      await store.users.update('system', owner.id, { state: 'disabled' });
      await expectRefusal('not_found', make(byRole(id, owner, 'owner')));
      expect((await store.projects.list(id, {})).items).toHaveLength(1);
    });

    test('are worth nothing once the role is lost, however many wait', async () => {
      const stores = [getStore(), await getSpace().open()] as const;
      const { id, members } = await newOwned('owner', 'admin');
      const admin = members[1] as User;
      const by = byRole(id, admin, 'owner', 'admin');
      const waiting = Array.from({ length: 12 }, (_, turn) => {
        const store = stores[turn % 2] ?? getStore();
        return turn === 5
          ? store.members.setRole('system', id, admin.id, 'member')
          : store.projects.create(by, id, { name: `Project ${turn}` });
      });
      const results = await Promise.allSettled(waiting);
      await stores[1].close();
      for (const result of results) {
        if (result.status === 'rejected') expect(result.reason).toMatchObject({ reason: 'role_lost' });
      }
      const { items } = await getStore().audit.list(id, {});
      const newestFirst = items.map(({ actor, action }) => `${actor} ${action}`);
      const afterwards = newestFirst.slice(0, newestFirst.indexOf('system member.update'));
      expect(afterwards).toEqual([]);
    });

    test('of tokens are for those in force', async () => {
      const store = getStore();
      const { id } = await newOwned();
      const make = async (expiresMs?: number) => {
        const { token } = await store.apiTokens.create('system', id, { name: 'CI', scopes: [], expiresMs });
        return { token, by: { actor: `token:${token.id}`, organizationId: id, roles: [] } as const };
      };
      const [revoked, expired, good] = [await make(), await make(Date.now() - 1), await make()];
      await store.apiTokens.revoke('system', id, revoked.token.id);
      const rename = (by: Mandate, name: string) => store.organizations.update(by, id, { name });
      for (const { by } of [revoked, expired]) await expectRefusal('not_found', rename(by, 'Taken over'));
      expect(await rename(good.by, 'New')).toMatchObject({ name: 'New' });
      const foreign = (await newOwned()).id;
      await expectRefusal('not_found', rename({ ...good.by, organizationId: foreign }, 'Taken over'));
    });

    test('of tokens make no token that ends later than they do', async () => {
      const { apiTokens } = getStore();
      const { id } = await newOwned();
      const endMs = Date.now() + 3_600_000;
      const make = (by: By, expiresMs?: number) => apiTokens.create(by, id, { name: 'CI', scopes: [], expiresMs });
      const byToken = async (expiresMs?: number) => {
        const { token } = await make('system', expiresMs);
        return { actor: `token:${token.id}`, organizationId: id, roles: [] } as const;
      };
      const [ending, endless] = [await byToken(endMs), await byToken()];
      for (const later of [undefined, endMs + 1]) await expectRefusal('outlives_maker', make(ending, later));
      expect((await make(ending, endMs)).token.expiresMs).toBe(endMs);
      expect((await make(endless)).token.expiresMs).toBeUndefined();
    });
  });
}
