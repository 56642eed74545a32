import { describe, expect, test } from 'vitest';
import type { Store } from './store.ts';
import { ACTOR, expectRefusal, newOrganization, newUser } from './store-harness.ts';

export function describeDisabled(getStore: () => Store): void {
  describe('what is disabled', () => {
    test('invites nobody until it is enabled again', async () => {
      const store = getStore();
      const { id } = await newOrganization(store);
      const user = await newUser(store);
      const input = { email: user.email, role: 'admin', expiresMs: Date.now() + 3_600_000 } as const;
      const { invitation, secret } = await store.invitations.create(ACTOR, id, input);
      await store.organizations.update(ACTOR, id, { state: 'disabled' });
      expect(await store.invitations.find(secret)).toBeUndefined();
      await expectRefusal('not_found', store.invitations.accept(`user:${user.id}`, secret, user.id));
      // They are its own matter all the same: one may be taken back.
      expect((await store.invitations.list(id, {})).items).toEqual([invitation]);
      await store.organizations.update(ACTOR, id, { state: 'active' });
      expect(await store.invitations.accept(`user:${user.id}`, secret, user.id)).toMatchObject({ role: 'admin' });
    });

    test('joins nothing, and owns nothing anew', async () => {
      const store = getStore();
      const { id } = await newOrganization(store);
      const user = await newUser(store);
      const input = { email: user.email, role: 'admin', expiresMs: Date.now() + 3_600_000 } as const;
      const { secret } = await store.invitations.create(ACTOR, id, input);
      await store.users.update('system', user.id, { state: 'disabled' });
      await expectRefusal('not_found', store.invitations.accept(`user:${user.id}`, secret, user.id));
      await expectRefusal('not_found', store.members.add(ACTOR, id, user.id, 'owner'));
      const own = { name: 'Own', region: '', ownerId: user.id };
      await expectRefusal('not_found', store.organizations.create(`user:${user.id}`, own));
    });

    test('is no owner beside whom the last one could go', async () => {
      const store = getStore();
      const [ada, ben] = [await newUser(store), await newUser(store)];
      const { id } = await store.organizations.create(ACTOR, { name: 'Own', region: '', ownerId: ada.id });
      await store.members.add(ACTOR, id, ben.id, 'owner');
      await store.users.update('system', ben.id, { state: 'disabled' });
      await expectRefusal('last_owner', store.members.remove(ACTOR, id, ada.id));
      await expectRefusal('last_owner', store.members.setRole(ACTOR, id, ada.id, 'admin'));
      await store.members.remove(ACTOR, id, ben.id);
      expect((await store.members.list(id, {})).items).toMatchObject([{ userId: ada.id, role: 'owner' }]);
    });
  });
}
