import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import type { Database } from '#lib/store/database.ts';
import { createStore } from '#lib/store/sql-store.ts';
import type { Store } from '#lib/store/store.ts';
import type { Accounts, Identity, NewSession, SignInResult } from './accounts.ts';
import { createMemoryThrottle } from './memory-throttle.ts';
import { Passwords } from './passwords.ts';
import { type AccountsOptions, createAccounts } from './sql-accounts.ts';

/** Accounts and the store on one database, with a clock that the test moves. */
export class Bench {
  readonly database: Database;
  readonly store: Store;
  nowMs = Date.now();

  constructor(database: Database) {
    this.database = database;
    this.store = createStore(database);
  }

  accounts(options: Partial<AccountsOptions> = {}): Accounts {
    return createAccounts(this.database, {
      signUp: 'open',
      // Each with a throttle of its own, or tests would meet in it.
      throttle: createMemoryThrottle({ now: () => this.nowMs }),
      passwords: new Passwords({ cost: { memoryKiB: 64, passes: 1, lanes: 1 } }),
      now: () => this.nowMs,
      signUpMinMs: 0,
      ...options,
    });
  }

  /** Somebody new, who has signed in. */
  async newcomer(accounts = this.accounts()): Promise<NewSession & { readonly email: string }> {
    const email = newEmail();
    expect(await accounts.signUp({ email, password: PASSWORD, name: 'Ann', invitation: '' }, CLIENT)).toEqual({
      kind: 'taken',
    });
    return { ...signedIn(await accounts.signIn({ email, password: PASSWORD }, CLIENT)), email };
  }

  async actions(userId: string): Promise<string[]> {
    const rows = await this.database.reader
      .selectFrom('audit_log')
      .select(['action', 'actor'])
      .where('target', '=', `users/${userId}`)
      .orderBy('id')
      .execute();
    for (const { actor } of rows) expect(actor).toBe(`user:${userId}`);
    return rows.map(({ action }) => action);
  }

  close(): Promise<void> {
    return this.store.close();
  }
}

export const PASSWORD = 'correct horse';
export const CLIENT = '203.0.113.9';

export function newEmail(): string {
  return `ann-${randomUUID()}@example.com`;
}

export function newIdentity(verifiedEmail: string | undefined): Identity {
  return { issuer: 'https://issuer.example', subject: randomUUID(), verifiedEmail, name: 'Ann' };
}

export function signedIn(result: SignInResult | { readonly kind: string }): NewSession {
  if (!('session' in result)) throw new Error(`answered ${JSON.stringify(result)}`);
  return result;
}
