import { describe, expect, test } from 'vitest';
import type { Store } from './store.ts';
import { ACTOR, everyPage, expectRefusal, newOrganization, newUser, type StoreSpace } from './store-harness.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

export function describePeople(getStore: () => Store, getSpace: () => StoreSpace): void {
  describe('users', () => {
    test('have addresses of their own, whatever their case', async () => {
      const store = getStore();
      const user = await newUser(store);
      expect(await store.users.get(user.id)).toEqual(user);
      expect(await store.users.findByEmail(user.email.toUpperCase())).toEqual(user);
      expect(await store.users.findByEmail('nobody@example.com')).toBeUndefined();
      expect(await store.users.findByEmail('a\0@example.com')).toBeUndefined();
      for (const id of ['', 'x\0', ACTOR]) expect(await store.users.get(id)).toBeUndefined();
      await expectRefusal('email_taken', store.users.create('system', { email: user.email.toLowerCase(), name: '' }));
      const other = await newUser(store);
      await expectRefusal('email_taken', store.users.update('system', other.id, { email: user.email.toUpperCase() }));
    });

    test('change', async () => {
      const store = getStore();
      const user = await newUser(store);
      const email = user.email.toUpperCase();
      const changed = await store.users.update('system', user.id, { email, name: 'New', state: 'disabled' });
      expect(changed).toEqual({ ...user, email, name: 'New', state: 'disabled' });
      expect(await store.users.findByEmail(user.email)).toEqual(changed);
      await expectRefusal('not_found', store.users.update('system', crypto.randomUUID(), { name: 'None' }));
    });
  });

  describe('members', () => {
    test('join, are listed, and see their organizations', async () => {
      const store = getStore();
      const [ada, ben] = [await newUser(store), await newUser(store)];
      const own = { name: 'Own', region: '', ownerId: ada.id };
      const [first, second] = [await store.organizations.create(ACTOR, own), await newOrganization(store)];
      await store.members.add(ACTOR, first.id, ben.id, 'member');
      await expectRefusal('member_exists', store.members.add(ACTOR, first.id, ben.id, 'admin'));
      await expectRefusal('not_found', store.members.add(ACTOR, first.id, crypto.randomUUID(), 'admin'));
      await expectRefusal('not_found', store.members.add(ACTOR, 999_999n, ben.id, 'admin'));
      const members = (await everyPage((page) => store.members.list(first.id, page), 1)).flat();
      expect(members).toMatchObject([
        { userId: ada.id, email: ada.email, role: 'owner' },
        { userId: ben.id, email: ben.email, role: 'member' },
      ]);
      expect(await store.members.get(first.id, ben.id)).toEqual(members[1]);
      expect(await store.members.get(second.id, ben.id)).toBeUndefined();
      expect((await store.organizations.list({ userId: ben.id })).items).toEqual([first]);
    });

    test('an owner who is not there makes no organization', async () => {
      const store = getStore();
      const slug = `orphan-${Date.now()}`;
      const orphan = { name: 'Orphan', slug, region: '', ownerId: crypto.randomUUID() };
      await expectRefusal('not_found', store.organizations.create(ACTOR, orphan));
      expect(await store.organizations.get(slug)).toBeUndefined();
    });

    test('the last owner stays one', async () => {
      const store = getStore();
      const [ada, ben] = [await newUser(store), await newUser(store)];
      const { id } = await store.organizations.create(ACTOR, { name: 'Own', region: '', ownerId: ada.id });
      await expectRefusal('last_owner', store.members.remove(ACTOR, id, ada.id));
      await expectRefusal('last_owner', store.members.setRole(ACTOR, id, ada.id, 'admin'));
      await store.members.add(ACTOR, id, ben.id, 'owner');
      const removals = [store.members.remove(ACTOR, id, ada.id), store.members.remove(ACTOR, id, ben.id)];
      const results = await Promise.allSettled(removals);
      expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
      expect((await store.members.list(id, {})).items).toMatchObject([{ role: 'owner' }]);
    });
  });

  describe('invitations', () => {
    const invite = (store: Store, organizationId: bigint, email: string, expiresMs = Date.now() + HOUR_MS) =>
      store.invitations.create(ACTOR, organizationId, { email, role: 'admin', expiresMs });

    test('are accepted once, by who has the secret', async () => {
      const store = getStore();
      const { id } = await newOrganization(store);
      const [user, other] = [await newUser(store), await newUser(store)];
      const { invitation, secret } = await invite(store, id, user.email);
      expect(await store.invitations.find(secret)).toEqual(invitation);
      expect((await store.invitations.list(id, {})).items).toEqual([invitation]);
      const racers = [user, other];
      const accepted = await Promise.allSettled(
        racers.map((racer) => store.invitations.accept(`user:${racer.id}`, secret, racer.id)),
      );
      expect(accepted.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
      const { items } = await store.members.list(id, {});
      expect(items).toMatchObject([{ role: 'admin' }]);
      expect(await store.invitations.find(secret)).toBeUndefined();
      await expectRefusal('member_exists', invite(store, id, items[0]?.email.toUpperCase() ?? ''));
    });

    test('that another one takes the place of are ended in the audit log too', async () => {
      const store = getStore();
      const { id } = await newOrganization(store);
      const first = await invite(store, id, 'twice@example.com');
      const second = await invite(store, id, 'Twice@example.com');
      const { items } = await store.audit.list(id, { pageSize: 3 });
      const pathOf = ({ invitation }: typeof first) => `organizations/${id}/invitations/${invitation.id}`;
      expect(items.map(({ actor, action, target }) => [actor, action, target])).toEqual([
        [ACTOR, 'invitation.create', pathOf(second)],
        [ACTOR, 'invitation.revoke', pathOf(first)],
        [ACTOR, 'invitation.create', pathOf(first)],
      ]);
    });

    test('end: by time, by another for the same address, by being taken back', async () => {
      const store = getStore();
      const { id } = await newOrganization(store);
      const user = await newUser(store);
      const expired = await invite(store, id, 'late@example.com', Date.now() - 1);
      const replaced = await invite(store, id, 'Twice@example.com');
      const kept = await invite(store, id, 'twice@example.com');
      const revoked = await invite(store, id, 'never@example.com');
      const foreign = (await newOrganization(store)).id;
      await expectRefusal('not_found', store.invitations.revoke(ACTOR, foreign, revoked.invitation.id));
      await store.invitations.revoke(ACTOR, id, revoked.invitation.id);
      await expectRefusal('not_found', store.invitations.revoke(ACTOR, id, revoked.invitation.id));
      expect((await store.invitations.list(id, {})).items).toEqual([kept.invitation]);
      for (const { secret } of [expired, replaced, revoked]) {
        expect(await store.invitations.find(secret)).toBeUndefined();
        await expectRefusal('not_found', store.invitations.accept('system', secret, user.id));
      }
    });
  });

  describe('API tokens', () => {
    test('are known by their secret, which is not kept', async () => {
      const store = getStore();
      const { id } = await newOrganization(store);
      const scopes = ['streams:start', 'projects:read'];
      const { token, secret } = await store.apiTokens.create(ACTOR, id, { name: 'CI', scopes });
      expect(secret).toMatch(/^twa_[A-Za-z0-9_-]{43}$/);
      expect(token).toMatchObject({ organizationId: id, name: 'CI', scopes, state: 'active', lastUsedMs: undefined });
      const today = Math.floor(Date.now() / DAY_MS) * DAY_MS;
      expect(await store.apiTokens.authenticate(secret)).toEqual({ ...token, lastUsedMs: today });
      expect(await store.apiTokens.get(id, token.id)).toEqual({ ...token, lastUsedMs: today });
      for (const wrong of ['', 'twa_', secret.toUpperCase(), `${secret}x`, token.id]) {
        expect(await store.apiTokens.authenticate(wrong)).toBeUndefined();
      }
      const rows = JSON.stringify(await getSpace().execute('select name, secret_hash from api_tokens'));
      expect(rows).toContain('CI');
      expect(rows).not.toContain(secret.slice(4));
    });

    test('end: by time, by being revoked, with their organization', async () => {
      const store = getStore();
      const { id } = await newOrganization(store);
      const make = (name: string, expiresMs?: number) =>
        store.apiTokens.create(ACTOR, id, { name, scopes: ['projects:read'], expiresMs });
      const [expired, revoked, kept] = [
        await make('expired', Date.now() - 1),
        await make('revoked', Date.now() + HOUR_MS),
        await make('kept', Date.now() + HOUR_MS),
      ];
      const foreign = (await newOrganization(store)).id;
      expect(await store.apiTokens.get(foreign, revoked.token.id)).toBeUndefined();
      await expectRefusal('not_found', store.apiTokens.revoke(ACTOR, foreign, revoked.token.id));
      expect((await store.apiTokens.revoke(ACTOR, id, revoked.token.id)).state).toBe('disabled');
      expect((await store.apiTokens.revoke(ACTOR, id, revoked.token.id)).state).toBe('disabled');
      expect(await store.apiTokens.authenticate(expired.secret)).toBeUndefined();
      expect(await store.apiTokens.authenticate(revoked.secret)).toBeUndefined();
      expect(await store.apiTokens.authenticate(kept.secret)).toMatchObject({ name: 'kept' });
      await store.organizations.update(ACTOR, id, { state: 'disabled' });
      expect(await store.apiTokens.authenticate(kept.secret)).toBeUndefined();
      const names = (await everyPage((page) => store.apiTokens.list(id, page), 2)).flat().map(({ name }) => name);
      expect(names).toEqual(['expired', 'revoked', 'kept']);
    });
  });

  describe('regions', () => {
    test('are added and moved, and listed by name', async () => {
      const store = getStore();
      await store.regions.put('system', { name: 'us', url: 'https://us.example.com' });
      await store.regions.put('system', { name: 'de', url: 'https://old.example.com' });
      await store.regions.put('system', { name: 'de', url: 'https://de.example.com' });
      expect(await store.regions.list()).toEqual([
        { name: 'de', url: 'https://de.example.com' },
        { name: 'us', url: 'https://us.example.com' },
      ]);
      expect(await store.regions.get('us')).toEqual({ name: 'us', url: 'https://us.example.com' });
      expect(await store.regions.get('a\0b')).toBeUndefined();
    });
  });
}
