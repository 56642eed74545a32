import { StoreUnavailableError } from '#lib/sql/database-errors.ts';
import type { Store } from '#lib/store/store.ts';
import { Batcher } from './batcher.ts';
import { ChangeFeed } from './change-feed.ts';
import { ChangeFollower, type ChangeStep } from './change-follower.ts';
import {
  type ConfigCache,
  type ConfigCacheCounters,
  LOAD_DEADLINE_MS,
  type Lookup,
  UNKNOWN_TTL_MS,
  type Watch,
} from './config-cache.ts';
import type { ConfigEntry } from './config-entry.ts';
import { MemoryConfigs } from './memory-configs.ts';
import type { SharedAnswer, SharedConfigs } from './shared-configs.ts';
import { StoreLoader } from './store-loader.ts';

export interface ConfigCacheOptions {
  readonly store: Pick<Store, 'configs' | 'changes'>;
  /** The second level, which the cache closes. */
  readonly shared?: SharedConfigs | undefined;
  readonly maxBytes: number;
  readonly graceMs: number;
  readonly ttlMs: number;
  /** Hears of what is neither an answer nor the store being away. */
  readonly onError: (error: unknown) => void;
}

export function createConfigCache(options: ConfigCacheOptions): ConfigCache {
  return new LayeredConfigCache(options);
}

/** A key that is being loaded. Whoever asks for it meanwhile gets the same answer. */
interface Flight {
  readonly answer: Promise<ConfigEntry | undefined>;
  /** The key changed after the load began. */
  isOld: boolean;
}

const SHARED_KEYS_AT_ONCE = 2_000;
const SHARED_WINDOW_MS = 1;
const SHARED_READS_AT_ONCE = 8;
/** More are answered as unavailable. */
const MAX_FLIGHTS = 100_000;

/** Entries age at different speeds, up to so much: those that were loaded together are not all loaded again together. */
const TTL_SPREAD = 0.2;

class LayeredConfigCache implements ConfigCache {
  readonly #options: ConfigCacheOptions;
  readonly #memory: MemoryConfigs;
  readonly #loader: StoreLoader;
  readonly #sharedReads: Batcher<SharedAnswer> | undefined;
  readonly #feed: ChangeFeed;
  readonly #follower: ChangeFollower;
  readonly #flights = new Map<string, Flight>();
  readonly #counters: ConfigCacheCounters = {
    memoryHits: 0,
    sharedHits: 0,
    loadedKeys: 0,
    loads: 0,
    failedLoads: 0,
    memoryBytes: 0,
  };

  constructor(options: ConfigCacheOptions) {
    this.#options = options;
    const { store, shared, onError } = options;
    this.#memory = new MemoryConfigs(options.maxBytes);
    this.#loader = new StoreLoader(store.configs, this.#counters, onError);
    this.#sharedReads =
      shared &&
      new Batcher({
        run: (keys) => shared.read(keys),
        maxKeys: SHARED_KEYS_AT_ONCE,
        windowMs: SHARED_WINDOW_MS,
        maxConcurrent: SHARED_READS_AT_ONCE,
      });
    this.#feed = new ChangeFeed(store.changes);
    this.#follower = new ChangeFollower({
      changes: store.changes,
      onStep: (step) => this.#take(step),
      onPass: async () => {
        this.#loader.storeAnswered();
        const { cursor } = this.#follower;
        if (cursor !== undefined) await shared?.maintain(cursor);
      },
      onError,
    });
  }

  get counters(): ConfigCacheCounters {
    return { ...this.#counters, memoryBytes: this.#memory.bytes };
  }

  async lookup(publicKeys: readonly string[], waitMs: number): Promise<Map<string, Lookup>> {
    const answers = new Map<string, Lookup>();
    const flights: Promise<unknown>[] = [];
    // All keys are looked at in this turn.
    const isInGrace = this.#isInGrace();
    const nowMs = Date.now();
    for (const key of publicKeys) {
      if (answers.has(key)) continue;
      const entry = isInGrace ? this.#fromMemory(key, nowMs) : undefined;
      if (entry !== undefined) {
        this.#counters.memoryHits += 1;
        answers.set(key, entry);
        if (this.#hasAged(key, entry, nowMs)) void this.#load(key, true);
        continue;
      }
      answers.set(key, { kind: 'pending' });
      const { answer } = this.#load(key, false);
      flights.push(
        answer.then((loaded) => {
          answers.set(key, loaded ?? { kind: 'unavailable' });
        }),
      );
    }
    if (flights.length === 0) return answers;
    await settledWithin(flights, waitMs);
    // What comes later must not change what was answered.
    return new Map(answers);
  }

  async catchUp(timeoutMs: number, cursor?: string): Promise<boolean> {
    if (cursor !== undefined && this.#feed.hasPassed(cursor)) return true;
    if (this.#follower.isAway) return false;
    return this.#follower.catchUp(timeoutMs);
  }

  watch(since: string, signal: AbortSignal): Watch {
    return this.#feed.watch(since, signal);
  }

  close(): void {
    this.#follower.close();
    this.#options.shared?.close();
  }

  #fromMemory(key: string, nowMs: number): ConfigEntry | undefined {
    const entry = this.#memory.get(key);
    return entry?.kind === 'unknown' && nowMs - entry.loadedAtMs > UNKNOWN_TTL_MS ? undefined : entry;
  }

  /** The store's silence counts for all entries alike: no change has been heard of since. */
  #isInGrace(): boolean {
    return performance.now() - this.#follower.caughtUpAtMs <= this.#options.graceMs;
  }

  #hasAged(key: string, entry: ConfigEntry, nowMs: number): boolean {
    const ageMs = nowMs - entry.loadedAtMs;
    if (ageMs <= this.#options.ttlMs * (1 - TTL_SPREAD)) return false;
    const spread = (Number.parseInt(key.slice(0, 4), 16) / 0x10000) * TTL_SPREAD;
    return ageMs > this.#options.ttlMs * (1 - spread);
  }

  /** `direct`: not from Redis. */
  #load(key: string, direct: boolean): Flight {
    const under = this.#flights.get(key);
    if (under !== undefined) return under;
    if (this.#flights.size >= MAX_FLIGHTS) return { answer: Promise.resolve(undefined), isOld: false };
    const { promise, resolve } = Promise.withResolvers<ConfigEntry | undefined>();
    const flight: Flight = { answer: promise, isOld: false };
    this.#flights.set(key, flight);
    void this.#fly(key, flight, direct).then((entry) => {
      this.#flights.delete(key);
      resolve(entry);
    });
    return flight;
  }

  /** Undefined: the store is away. Never throws. */
  async #fly(key: string, flight: Flight, direct: boolean): Promise<ConfigEntry | undefined> {
    try {
      await this.#began();
      for (;;) {
        flight.isOld = false;
        const { entry, lease } = await this.#ask(key, direct);
        if (flight.isOld) continue;
        // In the same turn as the look at isOld: a change that comes later finds it in memory.
        this.#memory.set(key, entry);
        if (lease !== undefined) this.#options.shared?.write(key, lease, entry);
        return entry;
      }
    } catch (error) {
      if (!(error instanceof StoreUnavailableError)) this.#options.onError(error);
      return undefined;
    }
  }

  async #ask(key: string, direct: boolean): Promise<{ entry: ConfigEntry; lease?: string | undefined }> {
    const answer = direct || !this.#isInGrace() ? undefined : await this.#sharedReads?.get(key);
    if (answer?.kind === 'entry') {
      this.#counters.sharedHits += 1;
      return { entry: answer.entry };
    }
    return { entry: await this.#loader.load(key), lease: answer?.lease };
  }

  /** Nothing may be cached before the log is followed. @throws StoreUnavailableError */
  async #began(): Promise<void> {
    if (this.#follower.cursor !== undefined) return;
    if (this.#follower.isAway || !(await this.#follower.catchUp(LOAD_DEADLINE_MS))) {
      throw new StoreUnavailableError('the store has not answered yet');
    }
  }

  async #take(step: ChangeStep): Promise<void> {
    // Memory first, then Redis, then watchers: what they ask for next must not be found anywhere. All in one turn; what
    // Redis still has to do it does behind reads that leave these keys alone.
    if (step.kind === 'reset') {
      this.#memory.clear();
      for (const flight of this.#flights.values()) flight.isOld = true;
    } else {
      for (const key of step.publicKeys) {
        this.#memory.delete(key);
        const flight = this.#flights.get(key);
        if (flight !== undefined) flight.isOld = true;
      }
    }
    const applied = this.#options.shared?.apply(step);
    this.#feed.add(step);
    await applied;
  }
}

async function settledWithin(promises: readonly Promise<unknown>[], waitMs: number): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, waitMs);
  try {
    await Promise.race([Promise.all(promises), late]);
  } finally {
    clearTimeout(timer);
  }
}
