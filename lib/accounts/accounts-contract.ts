import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Database } from '#lib/store/database.ts';
import { MAX_SESSIONS } from './accounts.ts';
import { describeIdentities } from './accounts-contract-identities.ts';
import { Bench, CLIENT, newEmail, newIdentity, PASSWORD, signedIn } from './accounts-harness.ts';
import { Passwords } from './passwords.ts';

/** The guarantees of accounts.ts, to be run against every database. */
export function describeAccountsContract(name: string, open: () => Promise<Database>): void {
  let bench: Bench;
  beforeAll(async () => {
    bench = new Bench(await open());
  });
  afterAll(() => bench.close());

  describe(`accounts contract: ${name}: signing up and in`, () => {
    test('who signs up signs in, however the address is written', async () => {
      const accounts = bench.accounts();
      const { session, token, email } = await bench.newcomer(accounts);
      expect(session.user).toMatchObject({ email, name: 'Ann', state: 'active' });
      expect(await accounts.session(token)).toEqual(session);
      const again = signedIn(await accounts.signIn({ email: email.toUpperCase(), password: PASSWORD }, CLIENT));
      expect(again.session.user.id).toBe(session.user.id);
      expect(again.token).not.toBe(token);
      expect(await bench.actions(session.user.id)).toEqual(['user.create']);
    });

    test('signing up again changes nothing, and answers the same', async () => {
      const accounts = bench.accounts();
      const { email, session } = await bench.newcomer(accounts);
      const again = { email, password: 'another password', name: 'Eve', invitation: '' };
      expect(await accounts.signUp(again, CLIENT)).toEqual({ kind: 'taken' });
      expect(await accounts.signIn({ email, password: 'another password' }, CLIENT)).toEqual({ kind: 'refused' });
      expect((await bench.store.users.get(session.user.id))?.name).toBe('Ann');
    });

    test('of many who sign up with one address at once, one has it', async () => {
      const accounts = bench.accounts();
      const email = newEmail();
      const passwords = Array.from({ length: 5 }, (_, i) => `password number ${i}`);
      await Promise.all(
        passwords.map((password) => accounts.signUp({ email, password, name: '', invitation: '' }, CLIENT)),
      );
      const results = await Promise.all(passwords.map((password) => accounts.signIn({ email, password }, CLIENT)));
      expect(results.filter(({ kind }) => kind === 'signed_in')).toHaveLength(1);
    });

    test('who signs in twice at once when hashes are made anew is let in twice, and can change the password meanwhile', async () => {
      const { email, session } = await bench.newcomer();
      const accounts = bench.accounts({ passwords: new Passwords({ cost: { memoryKiB: 128, passes: 1, lanes: 1 } }) });
      const signIn = () => accounts.signIn({ email, password: PASSWORD }, CLIENT);
      for (const result of await Promise.all([signIn(), signIn(), signIn()])) signedIn(result);
      const later = bench.accounts({ passwords: new Passwords({ cost: { memoryKiB: 64, passes: 2, lanes: 1 } }) });
      const change = { currentPassword: PASSWORD, newPassword: 'a new password' };
      const [changed] = await Promise.all([
        later.changePassword(session, change, CLIENT),
        later.signIn({ email, password: PASSWORD }, CLIENT),
      ]);
      signedIn(changed);
      expect(await later.signIn({ email, password: PASSWORD }, CLIENT)).toEqual({ kind: 'refused' });
      signedIn(await later.signIn({ email, password: 'a new password' }, CLIENT));
    });

    test('refuses a wrong password and an unknown address alike', async () => {
      const accounts = bench.accounts();
      const { email } = await bench.newcomer(accounts);
      const answers = await Promise.all([
        accounts.signIn({ email, password: 'wrong password' }, CLIENT),
        accounts.signIn({ email: newEmail(), password: 'wrong password' }, CLIENT),
        accounts.signIn({ email: 'nul\0@example.com', password: 'wrong password' }, CLIENT),
      ]);
      for (const answer of answers) expect(answer).toEqual({ kind: 'refused' });
    });

    test('limits attempts on an account that exists, and on one that does not', async () => {
      const accounts = bench.accounts();
      const { email } = await bench.newcomer(accounts);
      for (const attacked of [email, newEmail()]) {
        const attempt = () => accounts.signIn({ email: attacked, password: 'wrong password' }, '198.51.100.1');
        for (let i = 0; i < 10; i++) expect((await attempt()).kind).toBe('refused');
        expect(await attempt()).toMatchObject({ kind: 'throttled' });
      }
      // Its owner, elsewhere, comes in all the same, and the attacker not even with the password.
      expect((await accounts.signIn({ email, password: PASSWORD }, CLIENT)).kind).toBe('signed_in');
      expect((await accounts.signIn({ email, password: PASSWORD }, '198.51.100.1')).kind).toBe('throttled');
      bench.nowMs += 15 * 60_000;
      expect((await accounts.signIn({ email, password: PASSWORD }, '198.51.100.1')).kind).toBe('signed_in');
    });

    test('renews a hash that was made at another cost', async () => {
      const before = bench.accounts();
      const { email, session } = await bench.newcomer(before);
      const passwords = new Passwords({ cost: { memoryKiB: 128, passes: 1, lanes: 1 } });
      const accounts = bench.accounts({ passwords });
      signedIn(await accounts.signIn({ email, password: PASSWORD }, CLIENT));
      const { password_hash } = await bench.database.reader
        .selectFrom('logins')
        .select('password_hash')
        .where('user_id', '=', session.user.id)
        .executeTakeFirstOrThrow();
      expect(password_hash).toContain('m=128');
      expect((await accounts.signIn({ email, password: PASSWORD }, CLIENT)).kind).toBe('signed_in');
    });

    test('is for whom it is open', async () => {
      const { session } = await bench.newcomer();
      const organization = await bench.store.organizations.create(`user:${session.user.id}`, {
        name: 'Acme',
        region: '',
      });
      const [email, invited] = [newEmail(), newEmail()];
      const { secret } = await bench.store.invitations.create('system', organization.id, {
        email: invited,
        role: 'member',
        expiresMs: Date.now() + 60_000,
      });
      const signUp = (accounts = bench.accounts(), address = email, invitation = '') =>
        accounts.signUp({ email: address, password: PASSWORD, name: '', invitation }, CLIENT);
      expect(await signUp(bench.accounts({ signUp: 'closed' }))).toEqual({ kind: 'closed' });
      const accounts = bench.accounts({ signUp: 'invited' });
      expect(await signUp(accounts)).toEqual({ kind: 'not_invited' });
      expect(await signUp(accounts, email, secret)).toEqual({ kind: 'not_invited' });
      expect(await signUp(accounts, invited, 'twi_nonsense')).toEqual({ kind: 'not_invited' });
      expect(await signUp(accounts, invited.toUpperCase(), secret)).toEqual({ kind: 'taken' });
      const newcomer = signedIn(await accounts.signIn({ email: invited, password: PASSWORD }, CLIENT));
      const member = await accounts.acceptInvitation(newcomer.session, secret);
      expect(member).toMatchObject({ organizationId: organization.id, role: 'member' });
      await expect(accounts.acceptInvitation(newcomer.session, secret)).rejects.toThrow('invitation not found');
    });
  });

  describe(`accounts contract: ${name}: sessions`, () => {
    test('keep no token, and know one from what is none', async () => {
      const accounts = bench.accounts();
      const { token, session } = await bench.newcomer(accounts);
      expect(token).toMatch(/^tws_[A-Za-z0-9_-]{43}$/);
      const rows = await bench.database.reader
        .selectFrom('sessions')
        .selectAll()
        .where('id', '=', session.id)
        .execute();
      expect(rows).toHaveLength(1);
      expect(Object.values(rows[0] ?? {}).map(String)).not.toContain(token);
      const other = `${token.slice(0, -2)}${token.endsWith('AA') ? 'BB' : 'AA'}`;
      for (const stolen of [other, rows[0]?.token_hash ?? '', session.id, '', `${token} `, 'tws_']) {
        expect(await accounts.session(stolen)).toBeUndefined();
      }
    });

    test('end when they are not used, and in any case one day', async () => {
      const accounts = bench.accounts({ sessionLimits: { idleMs: 1_000_000, maxAgeMs: 3_000_000 } });
      const idle = await bench.newcomer(accounts);
      const used = signedIn(await accounts.signIn({ email: idle.email, password: PASSWORD }, CLIENT));
      for (let i = 0; i < 5; i++) {
        bench.nowMs += 500_000;
        expect(await accounts.session(used.token)).toBeDefined();
      }
      expect(await accounts.session(idle.token)).toBeUndefined();
      bench.nowMs += 500_000;
      expect(await accounts.session(used.token)).toBeUndefined();
    });

    test('begun or used while a clock was ahead outlive it by no more than they may last', async () => {
      const accounts = bench.accounts({ sessionLimits: { idleMs: 1_000_000, maxAgeMs: 3_000_000 } });
      bench.nowMs += 10_000_000;
      const ahead = await bench.newcomer(accounts);
      bench.nowMs -= 10_000_000;
      expect(await accounts.session(ahead.token)).toBeUndefined();
      const [used, idle] = [await bench.newcomer(accounts), await bench.newcomer(accounts)];
      bench.nowMs += 900_000;
      for (const { token } of [used, idle]) expect(await accounts.session(token)).toBeDefined();
      bench.nowMs -= 900_000;
      // Its use was noted ahead of time: from now on it counts again.
      expect(await accounts.session(used.token)).toBeDefined();
      bench.nowMs += 1_000_000;
      expect(await accounts.session(used.token)).toBeUndefined();
      bench.nowMs += 900_000;
      expect(await accounts.session(idle.token)).toBeUndefined();
    });

    test('are held to an age that was lowered after they began', async () => {
      const idleMs = 1_000_000;
      const before = bench.accounts({ sessionLimits: { idleMs, maxAgeMs: 3_000_000 } });
      const accounts = bench.accounts({ sessionLimits: { idleMs, maxAgeMs: 1_200_000 } });
      const { token } = await bench.newcomer(before);
      bench.nowMs += 900_000;
      expect(await accounts.session(token)).toBeDefined();
      bench.nowMs += 300_000;
      expect(await accounts.session(token)).toBeUndefined();
      // That its end was far ahead is no sign of a clock that was.
      const longest = bench.accounts({ sessionLimits: { idleMs, maxAgeMs: 30_000_000 } });
      const long = await bench.newcomer(longest);
      expect(await accounts.session(long.token)).toBeDefined();
    });

    test('end by signing out: one, or all', async () => {
      const accounts = bench.accounts();
      const first = await bench.newcomer(accounts);
      const signIn = async () => signedIn(await accounts.signIn({ email: first.email, password: PASSWORD }, CLIENT));
      const [second, third] = [await signIn(), await signIn()];
      await accounts.signOut(first.session);
      expect(await accounts.session(first.token)).toBeUndefined();
      expect(await accounts.session(second.token)).toBeDefined();
      await accounts.signOutEverywhere(first.session.user.id);
      for (const { token } of [second, third]) expect(await accounts.session(token)).toBeUndefined();
      expect(await accounts.session((await bench.newcomer(accounts)).token)).toBeDefined();
    });

    test('end with the user, and do not come back with them', async () => {
      const accounts = bench.accounts();
      const { token, session, email } = await bench.newcomer(accounts);
      await bench.store.users.update('system', session.user.id, { state: 'disabled' });
      expect(await accounts.session(token)).toBeUndefined();
      expect(await accounts.signIn({ email, password: PASSWORD }, CLIENT)).toEqual({ kind: 'refused' });
      await bench.store.users.update('system', session.user.id, { state: 'active' });
      expect(await accounts.session(token)).toBeUndefined();
      signedIn(await accounts.signIn({ email, password: PASSWORD }, CLIENT));
    });

    test('are so many, and the oldest gives way', async () => {
      const accounts = bench.accounts();
      const { token, email } = await bench.newcomer(accounts);
      let last = '';
      for (let i = 0; i < MAX_SESSIONS; i++) {
        bench.nowMs++;
        last = signedIn(await accounts.signIn({ email, password: PASSWORD }, CLIENT)).token;
      }
      expect(await accounts.session(token)).toBeUndefined();
      expect(await accounts.session(last)).toBeDefined();
    });
  });

  describe(`accounts contract: ${name}: passwords`, () => {
    test('change with the current one, end all sessions, and begin one', async () => {
      const accounts = bench.accounts();
      const { session, token, email } = await bench.newcomer(accounts);
      const change = { currentPassword: PASSWORD, newPassword: 'a new password' };
      const wrong = { ...change, currentPassword: 'wrong password' };
      expect(await accounts.changePassword(session, wrong, CLIENT)).toEqual({ kind: 'refused' });
      expect(await accounts.changePassword(session, { ...change, currentPassword: '' }, CLIENT)).toEqual({
        kind: 'refused',
      });
      const begun = signedIn(await accounts.changePassword(session, change, CLIENT));
      expect(await accounts.session(token)).toBeUndefined();
      expect((await accounts.session(begun.token))?.user.id).toBe(session.user.id);
      expect(await accounts.signIn({ email, password: PASSWORD }, CLIENT)).toEqual({ kind: 'refused' });
      signedIn(await accounts.signIn({ email, password: 'a new password' }, CLIENT));
      expect(await bench.actions(session.user.id)).toEqual(['user.create', 'user.password']);
    });

    test('do not change by a session that has ended', async () => {
      const accounts = bench.accounts();
      const { session } = await bench.newcomer(accounts);
      await accounts.signOut(session);
      const change = { currentPassword: PASSWORD, newPassword: 'a new password' };
      expect(await accounts.changePassword(session, change, CLIENT)).toEqual({ kind: 'refused' });
    });

    test('can be guessed by a session no more often than by signing in', async () => {
      const accounts = bench.accounts();
      const { session } = await bench.newcomer(accounts);
      const change = { currentPassword: 'wrong password', newPassword: 'a new password' };
      for (let i = 0; i < 10; i++)
        expect((await accounts.changePassword(session, change, CLIENT)).kind).toBe('refused');
      expect((await accounts.changePassword(session, change, CLIENT)).kind).toBe('throttled');
    });

    test('are set where there is none, by who has just signed in', async () => {
      const accounts = bench.accounts();
      const email = newEmail();
      const { session } = signedIn(await accounts.signInByIdentity(newIdentity(email)));
      const change = { currentPassword: '', newPassword: 'a new password' };
      bench.nowMs += 600_000;
      expect(await accounts.changePassword(session, change, CLIENT)).toEqual({ kind: 'refused' });
      // A clock that was set back makes no session young.
      bench.nowMs -= 3_600_000;
      expect(await accounts.changePassword(session, change, CLIENT)).toEqual({ kind: 'refused' });
      bench.nowMs += 3_600_000 - 1;
      signedIn(await accounts.changePassword(session, change, CLIENT));
      signedIn(await accounts.signIn({ email, password: 'a new password' }, CLIENT));
    });
  });

  describeIdentities(name, () => bench);
}
