import type { ConfigEntry } from './config-entry.ts';

/**
 * What relays need to know of public keys, cached in memory and on Redis in front of the store.
 *
 * 1. *Cached means no SQL.* A key that is in memory or on Redis is answered without a query. What follows the change log
 *    is the process: at most one query a hint, and one each {@link FOLLOW_INTERVAL_MS}, however many keys there are.
 * 2. *One load each.* However many ask for a key at once, it is loaded once; loads share queries of up to
 *    MAX_LOOKUP_KEYS keys. How many queries run and how many keys wait is bounded. Keys that don't exist are remembered
 *    too, for {@link UNKNOWN_TTL_MS}.
 * 3. *What is cached is current.* Every answer is what the store said at or after the last time that this process caught
 *    up with the change log, which is at most MAX_HINT_DELAY_MS and a query ago while the store is there. A watcher that
 *    is told of a change finds it done here. {@link ConfigCache.catchUp} makes sure of what others were told.
 * 4. *The store away.* Cached answers go on for `graceMs` after the store was last caught up with. Everything else is
 *    answered as unavailable, at once or after {@link LOAD_DEADLINE_MS}. When the store is back nothing has to be done:
 *    what changed meanwhile is in the log, or the cache begins anew.
 * 5. *Bounded.* Everything in memory is below `maxBytes`; what was used least recently goes first.
 * 6. *A net.* An entry older than `ttlMs` is loaded again behind its next use, though nothing is known to have changed.
 *
 * 3 holds because: *(a)* the process takes the log's cursor before it caches anything; *(b)* a change first removes its
 * keys from memory and marks their loads, and a marked load is done again; only then is the log's position its own;
 * *(c)* what Redis answers holds (b) too: see shared-configs.ts.
 */
export interface ConfigCache {
  /**
   * One answer for each key: at once for those in memory; `pending` for what isn't there after `waitMs`, and goes on
   * being loaded. Keys are 32 lower-case hex digits.
   */
  lookup(publicKeys: readonly string[], waitMs: number): Promise<Map<string, Lookup>>;

  /**
   * Resolves with true when all that was committed before the call is known here; with false if the store is away, or
   * that takes longer than `timeoutMs`. With `cursor`, what a watcher was told somewhere: no query if it is known here that it has been passed.
   */
  catchUp(timeoutMs: number, cursor?: string): Promise<boolean>;

  /** Tells of what changes from now on, or after a cursor of any process. Ends with the signal. */
  watch(since: string, signal: AbortSignal): Watch;

  readonly counters: Readonly<ConfigCacheCounters>;

  /** Ends everything that runs. Idempotent. */
  close(): void;
}

export type Lookup = ConfigEntry | { readonly kind: 'pending' } | { readonly kind: 'unavailable' };

/** What changed, in order. Throws StoreUnavailableError where it can't be known. */
export interface Watch {
  /** Waits for the next change, or for `timeoutMs`: then there are no keys. Undefined: it is over. */
  next(timeoutMs: number): Promise<WatchedChange | undefined>;
  /** Takes it out. Idempotent. */
  close(): void;
}

export interface WatchedChange {
  readonly cursor: string;
  readonly publicKeys: readonly string[];
  /** Forget everything. */
  readonly reset: boolean;
}

export interface ConfigCacheCounters {
  /** Answered from memory. */
  memoryHits: number;
  /** Answered by Redis. */
  sharedHits: number;
  /** Keys asked of the store, and in how many queries. */
  loadedKeys: number;
  loads: number;
  /** Failed queries. */
  failedLoads: number;
  /** What the entries in memory take, by estimate. */
  memoryBytes: number;
}

/** How long nothing is heard of the change log at most before it is looked at, hint or not. */
export const FOLLOW_INTERVAL_MS = 1_000;
export const LOAD_DEADLINE_MS = 2_000;
export const UNKNOWN_TTL_MS = 10_000;
