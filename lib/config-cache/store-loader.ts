import { StoreUnavailableError } from '#lib/sql/database-errors.ts';
import { type KeyConfigs, MAX_LOOKUP_KEYS } from '#lib/store/store.ts';
import { Batcher } from './batcher.ts';
import { type ConfigCacheCounters, LOAD_DEADLINE_MS } from './config-cache.ts';
import { type ConfigEntry, entryOf } from './config-entry.ts';

const BATCH_WINDOW_MS = 2;
const MAX_CONCURRENT_QUERIES = 4;
const FIRST_PAUSE_MS = 100;
const MAX_PAUSE_MS = 2_000;

/**
 * Loads keys from the store, in shared queries. After a query that failed there is a pause in which everything fails at
 * once: a store that struggles is not asked by everybody, and nobody waits for what can't come.
 */
export class StoreLoader {
  readonly #configs: KeyConfigs;
  readonly #counters: ConfigCacheCounters;
  readonly #onError: (error: unknown) => void;
  readonly #batcher: Batcher<ConfigEntry>;
  #pauseMs = 0;
  #pausedUntilMs = 0;

  constructor(configs: KeyConfigs, counters: ConfigCacheCounters, onError: (error: unknown) => void) {
    this.#configs = configs;
    this.#counters = counters;
    this.#onError = onError;
    this.#batcher = new Batcher({
      run: (keys) => this.#query(keys),
      maxKeys: MAX_LOOKUP_KEYS,
      windowMs: BATCH_WINDOW_MS,
      maxConcurrent: MAX_CONCURRENT_QUERIES,
    });
  }

  /** @throws StoreUnavailableError */
  async load(publicKey: string): Promise<ConfigEntry> {
    this.#refuseWhilePaused();
    try {
      const entry = await this.#batcher.get(publicKey);
      if (entry === undefined) throw new Error('a query answered without a key that was asked for');
      return entry;
    } catch (error) {
      if (error instanceof StoreUnavailableError) throw error;
      this.#onError(error);
      throw new StoreUnavailableError('the key could not be loaded', { cause: error });
    }
  }

  /** The store was heard of elsewhere: no reason to wait any longer. */
  storeAnswered(): void {
    this.#pausedUntilMs = 0;
  }

  async #query(keys: readonly string[]): Promise<Map<string, ConfigEntry>> {
    this.#refuseWhilePaused();
    this.#counters.loads += 1;
    this.#counters.loadedKeys += keys.length;
    const loadedAtMs = Date.now();
    try {
      const configs = await withDeadline(this.#configs.get(keys), LOAD_DEADLINE_MS);
      this.#pauseMs = 0;
      return new Map(keys.map((key) => [key, entryOf(configs.get(key), loadedAtMs)]));
    } catch (error) {
      this.#counters.failedLoads += 1;
      this.#pauseMs = Math.min(Math.max(this.#pauseMs * 2, FIRST_PAUSE_MS), MAX_PAUSE_MS);
      this.#pausedUntilMs = performance.now() + this.#pauseMs;
      throw error;
    }
  }

  #refuseWhilePaused(): void {
    if (performance.now() < this.#pausedUntilMs) throw new StoreUnavailableError('the store does not answer');
  }
}

/** What takes longer goes on, and is bounded by the store. */
export async function withDeadline<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new StoreUnavailableError(`the store did not answer within ${timeoutMs} ms`)),
    timeoutMs,
  );
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
