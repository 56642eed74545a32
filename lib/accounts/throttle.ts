import { createHash } from 'node:crypto';
import { networkOf } from '#lib/server/caller-address.ts';

/**
 * Counts attempts within windows of time, and says when there are too many.
 *
 * 1. An attempt counts before it is known how it ends: so many at once are no way around.
 * 2. Its counters are asked in order, and the first that is full ends it: what one client is refused fills no counter that
 *    it shares with others.
 * 3. A window begins with its first attempt, and is not lengthened by those that are refused.
 * 4. What is counted is kept by a digest, in bounded memory, and for no longer than its window.
 * 5. It never fails: a shared counter that is away is replaced by one of this process.
 */
export interface Throttle {
  /** Undefined: go on. Else how many whole ms to wait until the full counter begins anew. */
  attempt(counters: readonly Counter[]): Promise<number | undefined>;
  /** Forgets what was counted. */
  forget(counter: Counter): Promise<void>;
}

export interface Counter {
  readonly key: string;
  readonly limit: number;
  readonly windowMs: number;
}

const MINUTE_MS = 60_000;

/**
 * Few for one client and account: people mistype. More for an account from everywhere, as who attacks it must not be able
 * to lock its owner out with little. More for a client's address, behind which there may be an office.
 */
const LIMITS = {
  accountAndAddress: { limit: 10, windowMs: 15 * MINUTE_MS },
  account: { limit: 200, windowMs: 60 * MINUTE_MS },
  address: { limit: 100, windowMs: 15 * MINUTE_MS },
  signUpAddress: { limit: 30, windowMs: 60 * MINUTE_MS },
} as const;

/** `own` is forgotten by who succeeds; the others go on, or one good account would free a whole address. */
export function signInCounters(emailKey: string, clientAddress: string): { own: Counter; all: Counter[] } {
  const address = networkOf(clientAddress);
  const own = { key: keyOf('own', emailKey, address), ...LIMITS.accountAndAddress };
  return {
    own,
    all: [
      { key: keyOf('address', address), ...LIMITS.address },
      own,
      { key: keyOf('account', emailKey), ...LIMITS.account },
    ],
  };
}

export function signUpCounters(clientAddress: string): Counter[] {
  return [{ key: keyOf('sign-up', networkOf(clientAddress)), ...LIMITS.signUpAddress }];
}

function keyOf(...parts: string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url');
}
