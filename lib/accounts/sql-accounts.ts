import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Access } from '#lib/store/access.ts';
import type { Database } from '#lib/store/database.ts';
import { createInvitations } from '#lib/store/invitations.ts';
import type { Invitations } from '#lib/store/store.ts';
import { emailKey, insertUser, userByEmail, userOf } from '#lib/store/users.ts';
import {
  type Accounts,
  type Credentials,
  DEFAULT_SESSION_LIMITS,
  FRESH_SESSION_MS,
  type PasswordChange,
  type Session,
  type SessionLimits,
  type SignInResult,
  type SignUp,
  type SignUpMode,
  type SignUpResult,
  type Throttled,
} from './accounts.ts';
import { createMemoryThrottle } from './memory-throttle.ts';
import { isOutdated } from './password-hash.ts';
import { Passwords, TooManyHashesError } from './passwords.ts';
import { Sessions } from './sessions.ts';
import { signInByIdentity } from './sign-in-by-identity.ts';
import { type Counter, signInCounters, signUpCounters, type Throttle } from './throttle.ts';

export interface AccountsOptions {
  readonly signUp: SignUpMode;
  readonly throttle?: Throttle;
  readonly sessionLimits?: SessionLimits;
  readonly passwords?: Passwords;
  readonly now?: () => number;
  readonly signUpMinMs?: number;
}

/** Above what a hash and a commit take: the commit that only a new account needs is not to be seen in the time. */
const SIGN_UP_MIN_MS = 400;

/** Accounts on the store's open database. */
export function createAccounts(database: Database, options: AccountsOptions): Accounts {
  return new SqlAccounts(database, options);
}

class SqlAccounts implements Accounts {
  readonly #access: Access;
  readonly #invitations: Invitations;
  readonly #sessions: Sessions;
  readonly #passwords: Passwords;
  readonly #throttle: Throttle;
  readonly #signUp: SignUpMode;
  readonly #signUpMinMs: number;
  readonly #now: () => number;

  constructor(database: Database, options: AccountsOptions) {
    this.#now = options.now ?? Date.now;
    this.#access = new Access(database);
    this.#invitations = createInvitations(this.#access);
    this.#sessions = new Sessions(this.#access, options.sessionLimits ?? DEFAULT_SESSION_LIMITS, this.#now);
    this.#passwords = options.passwords ?? new Passwords();
    this.#throttle = options.throttle ?? createMemoryThrottle();
    this.#signUp = options.signUp;
    this.#signUpMinMs = options.signUpMinMs ?? SIGN_UP_MIN_MS;
  }

  async signUp(input: SignUp, clientAddress: string): Promise<SignUpResult> {
    if (this.#signUp === 'closed') return { kind: 'closed' };
    const throttled = await this.#attempt(signUpCounters(clientAddress));
    if (throttled) return throttled;
    if (this.#signUp === 'invited' && !(await this.#isInvited(input))) return { kind: 'not_invited' };
    const [result] = await Promise.all([this.#makeAccount(input), delay(this.#signUpMinMs)]);
    return result;
  }

  async #isInvited({ email, invitation }: SignUp): Promise<boolean> {
    const found = await this.#invitations.find(invitation);
    return found !== undefined && emailKey(found.email) === emailKey(email);
  }

  #makeAccount({ email, password, name }: SignUp): Promise<SignUpResult> {
    return orThrottled(async () => {
      const password_hash = await this.#passwords.hash(password);
      const id = randomUUID();
      await this.#access.mutate(`user:${id}`, async (mutation) => {
        if (await userByEmail(mutation.tx, email)) return;
        await insertUser(mutation, { id, email, name });
        await mutation.tx
          .insertInto('logins')
          .values({ user_id: id, password_hash, verified_email_key: null })
          .execute();
      });
      return { kind: 'taken' };
    });
  }

  async signIn({ email, password }: Credentials, clientAddress: string): Promise<SignInResult> {
    const { own, all } = signInCounters(emailKey(email), clientAddress);
    const throttled = await this.#attempt(all);
    if (throttled) return throttled;
    const result = await orThrottled(() => untilSettled(() => this.#checkAndBegin(email, password)));
    if (result.kind === 'signed_in') await this.#throttle.forget(own);
    return result;
  }

  async #checkAndBegin(email: string, password: string): Promise<SignInResult | typeof HASH_CHANGED> {
    const row = await this.#access.read(async (db) => {
      const user = await userByEmail(db, email);
      const login = await db
        .selectFrom('logins')
        .select('password_hash')
        // Asked also without a user: the same queries for everybody.
        .where('user_id', '=', user?.id ?? '')
        .executeTakeFirst();
      return { user, hash: login?.password_hash ?? undefined };
    });
    const { user, hash } = row;
    if (!(await this.#passwords.matches(password, hash)) || user === undefined || hash === undefined) {
      return { kind: 'refused' };
    }
    const renewed = isOutdated(hash, this.#passwords.cost) ? await this.#passwords.hash(password) : undefined;
    return this.#beginUnlessChanged(user.id, hash, renewed);
  }

  /** Nothing of a user who was disabled, or of a password that was changed, while it was checked. */
  async #beginUnlessChanged(
    userId: string,
    hash: string,
    renewed: string | undefined,
  ): Promise<SignInResult | typeof HASH_CHANGED> {
    return this.#access.mutate(`user:${userId}`, async ({ tx }) => {
      const user = await tx
        .selectFrom('users')
        .innerJoin('logins', 'logins.user_id', 'users.id')
        .selectAll('users')
        .select('password_hash')
        .where('users.id', '=', userId)
        .where('users.state', '=', 'active')
        .executeTakeFirst();
      if (user === undefined) return { kind: 'refused' };
      if (user.password_hash !== hash) return HASH_CHANGED;
      if (renewed !== undefined) {
        await tx.updateTable('logins').set({ password_hash: renewed }).where('user_id', '=', userId).execute();
      }
      return { kind: 'signed_in', ...(await this.#sessions.begin(tx, userOf(user))) };
    });
  }

  signInByIdentity(...[identity]: Parameters<Accounts['signInByIdentity']>) {
    return signInByIdentity({ access: this.#access, sessions: this.#sessions, signUp: this.#signUp }, identity);
  }

  session(token: string): Promise<Session | undefined> {
    return this.#sessions.find(token);
  }

  signOut(session: Session): Promise<void> {
    return this.#sessions.end(session.id);
  }

  async signOutEverywhere(userId: string): Promise<void> {
    await this.#access.note((db) => this.#sessions.endAll(db, userId));
  }

  async changePassword(session: Session, change: PasswordChange, clientAddress: string): Promise<SignInResult> {
    const { own, all } = signInCounters(emailKey(session.user.email), clientAddress);
    const throttled = await this.#attempt(all);
    if (throttled) return throttled;
    const result = await orThrottled(() => untilSettled(() => this.#setPassword(session, change)));
    if (result.kind === 'signed_in') await this.#throttle.forget(own);
    return result;
  }

  async #setPassword(
    session: Session,
    { currentPassword, newPassword }: PasswordChange,
  ): Promise<SignInResult | typeof HASH_CHANGED> {
    const { id } = session.user;
    const login = await this.#access.read((db) =>
      db.selectFrom('logins').selectAll().where('user_id', '=', id).executeTakeFirst(),
    );
    const current = login?.password_hash ?? undefined;
    // Also not where a clock was set back: then nobody knows how old it is.
    const isFresh = Math.abs(this.#now() - session.createdMs) < FRESH_SESSION_MS;
    const may =
      current === undefined
        ? isFresh && currentPassword === ''
        : await this.#passwords.matches(currentPassword, current);
    if (!may) return { kind: 'refused' };
    const password_hash = await this.#passwords.hash(newPassword);
    return this.#access.mutate(`user:${id}`, async (mutation) => {
      const { tx } = mutation;
      const user = await this.#sessions.user(tx, session);
      const now = await tx.selectFrom('logins').selectAll().where('user_id', '=', id).executeTakeFirst();
      if (user === undefined) return { kind: 'refused' };
      if ((now?.password_hash ?? undefined) !== current) return HASH_CHANGED;
      await mutation.record({ action: 'user.password', target: `users/${id}`, fields: ['password'] });
      if (now === undefined) {
        await tx.insertInto('logins').values({ user_id: id, password_hash, verified_email_key: null }).execute();
      } else {
        await tx.updateTable('logins').set({ password_hash }).where('user_id', '=', id).execute();
      }
      await this.#sessions.endAll(tx, id);
      return { kind: 'signed_in', ...(await this.#sessions.begin(tx, user)) };
    });
  }

  acceptInvitation(session: Session, secret: string) {
    return this.#invitations.accept(`user:${session.user.id}`, secret, session.user.id);
  }

  close(): void {
    void this.#access.close();
  }

  async #attempt(counters: readonly Counter[]): Promise<Throttled | undefined> {
    const retryAfterMs = await this.#throttle.attempt(counters);
    return retryAfterMs === undefined ? undefined : { kind: 'throttled', retryAfterMs };
  }
}

/** The hash was another one when the password had been compared with it. */
const HASH_CHANGED = 'hash_changed';
const MAX_COMPARISONS = 3;

/** A hash also changes where it is made anew of the same password, by who signs in in the same moment: so it is compared again. */
async function untilSettled(compare: () => Promise<SignInResult | typeof HASH_CHANGED>): Promise<SignInResult> {
  for (let left = MAX_COMPARISONS; left > 0; left--) {
    const result = await compare();
    if (result !== HASH_CHANGED) return result;
  }
  return { kind: 'refused' };
}

async function orThrottled<T>(work: () => Promise<T>): Promise<T | Throttled> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof TooManyHashesError) return { kind: 'throttled', retryAfterMs: error.retryAfterMs };
    throw error;
  }
}
