import { Backoff, backoffMs } from './lookup-backoff.ts';
import { type ConfigAnswer, type ConfigSource, MAX_BATCH_KEYS, MAX_CONCURRENT_BATCHES } from './project-cache.ts';

export interface LookupQueueOptions {
  readonly source: Pick<ConfigSource, 'lookup'>;
  readonly batchIntervalMs: number;
  /** A key that nobody has wanted for so long is not asked for any more; a request that takes longer has failed. */
  readonly queryTimeoutMs: number;
  /** How many keys may be asked for at once. */
  readonly maxKeys: number;
  /** 0n: none. */
  readonly revisionOf: (publicKey: string) => bigint;
  /** False: this answer doesn't help, ask again. An outdated one may be from before a change. */
  readonly onAnswer: (publicKey: string, answer: Settled, sentAtMs: number, isOutdated: boolean) => boolean;
  /** Hears of each failure that delays what comes after it. */
  readonly onError: (error: unknown) => void;
  readonly now: () => number;
}

export type Settled = Exclude<ConfigAnswer, { kind: 'pending' | 'unavailable' }>;

interface Wanted {
  readonly publicKey: string;
  wantedAtMs: number;
  waiters: Set<() => void> | undefined;
  /** Something changed since it was sent. */
  isOutdated: boolean;
  /** Answers that did not help. */
  pendings: number;
  failures: number;
}

/** Asks a source about keys: one request in flight for each, in batches, again and again until there is an answer. */
export class LookupQueue {
  readonly #options: LookupQueueOptions;
  readonly #backoff = new Backoff();
  readonly #wanted = new Map<string, Wanted>();
  readonly #inFlight = new Map<readonly Wanted[], AbortController>();
  readonly #later = new Set<NodeJS.Timeout>();
  #ready: Wanted[] = [];
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: LookupQueueOptions) {
    this.#options = options;
  }

  /** Keys that wait for their turn. */
  get waiting(): number {
    return this.#ready.length;
  }

  /** Has a key asked for, unless too many are. */
  want(publicKey: string): void {
    const wanted = this.#wanted.get(publicKey);
    if (wanted !== undefined) {
      wanted.wantedAtMs = this.#options.now();
      return;
    }
    if (this.#wanted.size >= this.#options.maxKeys || this.#isClosed) return;
    const made: Wanted = {
      // It is kept for as long as its project is: with the whole header that it may be a part of, otherwise.
      publicKey: Buffer.from(publicKey).toString('latin1'),
      wantedAtMs: this.#options.now(),
      waiters: undefined,
      isOutdated: false,
      pendings: 0,
      failures: 0,
    };
    this.#wanted.set(made.publicKey, made);
    this.#ready.push(made);
    this.#schedule();
  }

  /**
   * Resolves when a wanted key has been answered, or after `timeoutMs`. False: it isn't wanted, as too many are, and that
   * may be otherwise by now.
   */
  wait(publicKey: string, timeoutMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const wanted = this.#wanted.get(publicKey);
      const hasPlace = wanted !== undefined || this.#isClosed;
      const end = () => {
        clearTimeout(timer);
        wanted?.waiters?.delete(end);
        resolve(hasPlace);
      };
      const timer = setTimeout(end, hasPlace ? timeoutMs : Math.min(timeoutMs, NO_PLACE_MS));
      if (this.#isClosed) end();
      else if (wanted !== undefined) {
        wanted.waiters ??= new Set();
        wanted.waiters.add(end);
      }
    });
  }

  /** Whatever is on its way about this key is asked for once more. */
  outdate(publicKey: string): void {
    const wanted = this.#wanted.get(publicKey);
    if (wanted !== undefined) wanted.isOutdated = true;
  }

  /** The same for all keys. */
  outdateAll(): void {
    for (const batch of this.#inFlight.keys()) {
      for (const wanted of batch) wanted.isOutdated = true;
    }
  }

  /** The source is there: nothing has to wait for the next try. */
  wake(): void {
    if (!this.#backoff.isFailing) return;
    this.#backoff.succeed();
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#schedule();
  }

  close(): void {
    this.#isClosed = true;
    for (const controller of this.#inFlight.values()) controller.abort();
    clearTimeout(this.#timer);
    for (const timer of this.#later) clearTimeout(timer);
    for (const { waiters } of this.#wanted.values()) for (const end of waiters ?? []) end();
    this.#wanted.clear();
    this.#ready = [];
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#ready.length === 0 || this.#isClosed) return;
    const { batchIntervalMs, now } = this.#options;
    const delayMs = this.#backoff.isFailing ? this.#backoff.retryAtMs - now() : batchIntervalMs;
    this.#timer = setTimeout(() => this.#send(), Math.max(0, delayMs));
    this.#timer.unref();
  }

  #send(): void {
    this.#timer = undefined;
    // One is enough to see whether the source is back.
    while (this.#inFlight.size < (this.#backoff.isFailing ? 1 : MAX_CONCURRENT_BATCHES)) {
      const batch = this.#nextBatch();
      if (batch.length === 0) return;
      void this.#run(batch);
    }
  }

  #nextBatch(): Wanted[] {
    const { now, queryTimeoutMs } = this.#options;
    const forgottenMs = now() - queryTimeoutMs;
    for (;;) {
      const taken = this.#ready.splice(0, MAX_BATCH_KEYS);
      const batch = taken.filter((wanted) => {
        const isWanted = wanted.wantedAtMs > forgottenMs || (wanted.waiters?.size ?? 0) > 0;
        if (!isWanted) this.#wanted.delete(wanted.publicKey);
        return isWanted;
      });
      if (batch.length > 0 || taken.length === 0) return batch;
    }
  }

  async #run(batch: readonly Wanted[]): Promise<void> {
    const { now, onError } = this.#options;
    const { round } = this.#backoff;
    const sentAtMs = now();
    for (const wanted of batch) wanted.isOutdated = false;
    const controller = new AbortController();
    this.#inFlight.set(batch, controller);
    try {
      const answers = await this.#lookup(batch, controller);
      if (this.#isClosed) return;
      this.#backoff.succeed();
      this.#settle(batch, answers, sentAtMs);
    } catch (error) {
      if (this.#isClosed) return;
      if (this.#backoff.fail(round, now())) onError(error);
      // They have waited longest.
      this.#ready = [...batch, ...this.#ready];
    } finally {
      this.#inFlight.delete(batch);
      this.#schedule();
    }
  }

  /** Ends by itself, whatever the source does: it would take one of few places for ever. */
  async #lookup(batch: readonly Wanted[], controller: AbortController): Promise<readonly ConfigAnswer[]> {
    const { source, revisionOf, queryTimeoutMs } = this.#options;
    const { signal } = controller;
    const timer = setTimeout(() => controller.abort(new Error('the source did not answer in time')), queryTimeoutMs);
    timer.unref();
    try {
      const keys = batch.map(({ publicKey }) => ({ publicKey, revision: revisionOf(publicKey) }));
      const answers = await Promise.race([source.lookup(keys, signal), rejectsWith(signal)]);
      if (answers.length !== batch.length) throw new Error('the source did not answer each key');
      return answers;
    } finally {
      clearTimeout(timer);
    }
  }

  #settle(batch: readonly Wanted[], answers: readonly ConfigAnswer[], sentAtMs: number): void {
    const later = new Map<number, Wanted[]>();
    batch.forEach((wanted, at) => {
      const answer = answers[at] ?? { kind: 'unavailable' };
      const delayMs = this.#answered(wanted, answer, sentAtMs);
      if (delayMs === undefined) return;
      const same = later.get(delayMs);
      if (same === undefined) later.set(delayMs, [wanted]);
      else same.push(wanted);
    });
    for (const [delayMs, same] of later) this.#again(same, delayMs);
  }

  /** How long to wait before asking again. Undefined: this was the answer. */
  #answered(wanted: Wanted, answer: ConfigAnswer, sentAtMs: number): number | undefined {
    const { publicKey, isOutdated } = wanted;
    if (answer.kind === 'unavailable') {
      wanted.failures += 1;
      return Math.min(MAX_UNAVAILABLE_MS, backoffMs(wanted.failures + 1));
    }
    if (answer.kind === 'pending' || !this.#options.onAnswer(publicKey, answer, sentAtMs, isOutdated)) {
      wanted.pendings += 1;
      return Math.min(MAX_PENDING_MS, FIRST_PENDING_MS * 1.5 ** (wanted.pendings - 1));
    }
    this.#wanted.delete(publicKey);
    for (const end of wanted.waiters ?? []) end();
    if (isOutdated) this.want(publicKey);
    return undefined;
  }

  #again(batch: readonly Wanted[], delayMs: number): void {
    const timer = setTimeout(() => {
      this.#later.delete(timer);
      for (const wanted of batch) this.#ready.push(wanted);
      this.#schedule();
    }, delayMs);
    timer.unref();
    this.#later.add(timer);
  }
}

const FIRST_PENDING_MS = 100;
const MAX_PENDING_MS = 2_000;
/** Less than events wait for their project: no sign of life ends this pause, and they would be refused in the middle of it. */
const MAX_UNAVAILABLE_MS = 10_000;
const NO_PLACE_MS = 100;

function rejectsWith(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
