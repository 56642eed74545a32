import { describe, expect, test } from 'vitest';
import { type Bench, CLIENT, newEmail, newIdentity, PASSWORD, signedIn } from './accounts-harness.ts';

/** What accounts.ts promises of identities. */
export function describeIdentities(name: string, bench: () => Bench): void {
  describe(`accounts contract: ${name}: identities`, () => {
    test('make an account once, and find it by issuer and subject from then on', async () => {
      const accounts = bench().accounts();
      const identity = newIdentity(newEmail());
      const { session } = signedIn(await accounts.signInByIdentity(identity));
      expect(await bench().actions(session.user.id)).toEqual(['user.create', 'user.link']);
      const later = { ...identity, verifiedEmail: newEmail() };
      expect(signedIn(await accounts.signInByIdentity(later)).session.user).toEqual(session.user);
      const unverified = { ...identity, verifiedEmail: undefined };
      expect(signedIn(await accounts.signInByIdentity(unverified)).session.user).toEqual(session.user);
      const other = { ...later, issuer: 'https://other.example' };
      expect(signedIn(await accounts.signInByIdentity(other)).session.user.id).not.toBe(session.user.id);
    });

    test('of many at once, one makes the account', async () => {
      const accounts = bench().accounts();
      const identity = newIdentity(newEmail());
      const all = await Promise.all(Array.from({ length: 5 }, () => accounts.signInByIdentity(identity)));
      expect(new Set(all.map((result) => signedIn(result).session.user.id)).size).toBe(1);
    });

    test('of several of one address at once, all are the account\u2019s, and it is the account that links them', async () => {
      const accounts = bench().accounts();
      const email = newEmail();
      const identities = Array.from({ length: 4 }, () => newIdentity(email));
      const all = await Promise.all(identities.map((identity) => accounts.signInByIdentity(identity)));
      const [id, ...others] = new Set(all.map((result) => signedIn(result).session.user.id));
      expect(others).toEqual([]);
      expect(await bench().actions(id ?? '')).toEqual(['user.create', ...identities.map(() => 'user.link')]);
    });

    test('make an account also where the address is taken from who had it in the same moment', async () => {
      const accounts = bench().accounts();
      for (let turn = 0; turn < 20; turn++) {
        const { email, session } = await bench().newcomer(accounts);
        const [, result] = await Promise.all([
          bench().store.users.update('system', session.user.id, { email: newEmail() }),
          accounts.signInByIdentity(newIdentity(email)),
        ]);
        expect(result.kind).toBe('signed_in');
        bench().nowMs += 3_600_000;
      }
    });

    test('without a verified address are nobody, whether it has an account or not', async () => {
      expect(await bench().accounts().signInByIdentity(newIdentity(undefined))).toEqual({ kind: 'unverified' });
    });

    test('who holds the address gets the account that somebody else made for it, and that one loses it', async () => {
      const accounts = bench().accounts();
      const { email, session, token } = await bench().newcomer(accounts);
      const holder = signedIn(await accounts.signInByIdentity(newIdentity(email)));
      expect(holder.session.user.id).toBe(session.user.id);
      expect(await accounts.session(token)).toBeUndefined();
      expect(await accounts.signIn({ email, password: PASSWORD }, CLIENT)).toEqual({ kind: 'refused' });
      expect(await bench().actions(session.user.id)).toEqual(['user.create', 'user.claim', 'user.link']);
    });

    test('an address that was verified before keeps its password and sessions', async () => {
      const accounts = bench().accounts();
      const email = newEmail();
      const first = signedIn(await accounts.signInByIdentity(newIdentity(email)));
      const change = { currentPassword: '', newPassword: PASSWORD };
      const begun = signedIn(await accounts.changePassword(first.session, change, CLIENT));
      signedIn(await accounts.signInByIdentity({ ...newIdentity(email), issuer: 'https://other.example' }));
      expect(await accounts.session(begun.token)).toBeDefined();
      signedIn(await accounts.signIn({ email, password: PASSWORD }, CLIENT));
    });

    test('an address that was changed is verified no more', async () => {
      const accounts = bench().accounts();
      const { session } = signedIn(await accounts.signInByIdentity(newIdentity(newEmail())));
      const email = newEmail();
      const change = { currentPassword: '', newPassword: PASSWORD };
      signedIn(await accounts.changePassword(session, change, CLIENT));
      await bench().store.users.update('system', session.user.id, { email });
      signedIn(await accounts.signInByIdentity(newIdentity(email)));
      expect(await accounts.signIn({ email, password: PASSWORD }, CLIENT)).toEqual({ kind: 'refused' });
    });

    test('an address that only looks like another one is another one\u2019s', async () => {
      const accounts = bench().accounts();
      const email = `kate-${newEmail()}`;
      const holder = await bench().newcomer(accounts);
      await bench().store.users.update('system', holder.session.user.id, { email });
      // The Kelvin sign, the full-width k and o, the Greek question mark.
      const lookalikes = [email.replace('k', '\u212a'), email.replace('k', '\uff4b'), email.replace('-', '\u037e')];
      for (const lookalike of lookalikes) {
        const { session } = signedIn(await accounts.signInByIdentity(newIdentity(lookalike)));
        expect(session.user.id).not.toBe(holder.session.user.id);
      }
      expect(await accounts.session(holder.token)).toBeDefined();
      signedIn(await accounts.signIn({ email, password: PASSWORD }, CLIENT));
    });

    test('do not bring back who was disabled', async () => {
      const accounts = bench().accounts();
      const identity = newIdentity(newEmail());
      const { session } = signedIn(await accounts.signInByIdentity(identity));
      await bench().store.users.update('system', session.user.id, { state: 'disabled' });
      expect(await accounts.signInByIdentity(identity)).toEqual({ kind: 'refused' });
      expect(await accounts.signInByIdentity(newIdentity(session.user.email))).toEqual({ kind: 'refused' });
    });

    test('make an account for whom it is open: who is invited needs no token for an address that is verified', async () => {
      const [email, invited] = [newEmail(), newEmail()];
      const organization = await bench().store.organizations.create('system', { name: 'Acme', region: '' });
      await bench().store.invitations.create('system', organization.id, {
        email: invited,
        role: 'admin',
        expiresMs: Date.now() + 60_000,
      });
      const closed = bench().accounts({ signUp: 'closed' });
      expect(await closed.signInByIdentity(newIdentity(invited))).toEqual({ kind: 'closed' });
      const accounts = bench().accounts({ signUp: 'invited' });
      expect(await accounts.signInByIdentity(newIdentity(email))).toEqual({ kind: 'not_invited' });
      await bench().store.organizations.update('system', organization.id, { state: 'disabled' });
      expect(await accounts.signInByIdentity(newIdentity(invited))).toEqual({ kind: 'not_invited' });
      await bench().store.organizations.update('system', organization.id, { state: 'active' });
      const { session } = signedIn(await accounts.signInByIdentity(newIdentity(invited)));
      expect(await bench().store.members.get(organization.id, session.user.id)).toBeUndefined();
    });
  });
}
