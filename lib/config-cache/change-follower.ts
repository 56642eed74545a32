import { StoreUnavailableError } from '#lib/sql/database-errors.ts';
import type { ChangesResult } from '#lib/store/records.ts';
import type { ChangeLog } from '#lib/store/store.ts';
import { FOLLOW_INTERVAL_MS, LOAD_DEADLINE_MS } from './config-cache.ts';
import { withDeadline } from './store-loader.ts';

/** A piece of the change log: everything after `from` up to `to`. The first is where following begins: no keys. */
export type ChangeStep =
  | { readonly kind: 'changes'; readonly publicKeys: readonly string[]; readonly from: string; readonly to: string }
  /** It can't be known what changed: nothing from before `to` holds. */
  | { readonly kind: 'reset'; readonly to: string };

export interface ChangeFollowerOptions {
  readonly changes: ChangeLog;
  /** Makes the step take effect in this process. The next one waits until the promise settles. It must not throw. */
  readonly onStep: (step: ChangeStep) => Promise<void>;
  /** The end of the log was reached, with steps or without. The same holds for its promise. */
  readonly onPass: () => Promise<void>;
  readonly onError: (error: unknown) => void;
}

interface CatchingUp {
  /** Only a pass that begins after the question answers it. */
  readonly afterPass: number;
  readonly resolve: (isDone: boolean) => void;
}

const RETRY_MS = 200;

/**
 * Follows the store's change log, one question at a time: at each hint, at the latest after {@link FOLLOW_INTERVAL_MS},
 * and when somebody needs to know now. It goes on for ever while the store is away.
 */
export class ChangeFollower {
  readonly #options: ChangeFollowerOptions;
  readonly #stopHints: () => void;
  readonly #stopped = new AbortController();
  #cursor: string | undefined;
  #caughtUpAtMs = Number.NEGATIVE_INFINITY;
  #passes = 0;
  #catchingUp: CatchingUp[] = [];
  #isAsked = false;
  #isAway = false;
  #wake: () => void = () => {};

  constructor(options: ChangeFollowerOptions) {
    this.#options = options;
    this.#stopHints = options.changes.onChange(() => this.#ask());
    void this.#follow();
  }

  /** Up to where every change has taken effect. Undefined until the store answered for the first time. */
  get cursor(): string | undefined {
    return this.#cursor;
  }

  /** By performance.now(): what was committed before that has taken effect. */
  get caughtUpAtMs(): number {
    return this.#caughtUpAtMs;
  }

  /** The store did not answer the last question. */
  get isAway(): boolean {
    return this.#isAway;
  }

  /** Resolves with true when all that was committed before the call has taken effect; with false if it did not, by then. */
  catchUp(timeoutMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const waiting: CatchingUp = {
        afterPass: this.#passes,
        resolve: (isDone) => {
          clearTimeout(timer);
          resolve(isDone);
        },
      };
      const timer = setTimeout(() => {
        this.#catchingUp = this.#catchingUp.filter((other) => other !== waiting);
        resolve(false);
      }, timeoutMs);
      this.#catchingUp.push(waiting);
      this.#ask();
    });
  }

  close(): void {
    this.#stopped.abort();
    this.#stopHints();
    this.#ask();
  }

  #ask(): void {
    this.#isAsked = true;
    this.#wake();
  }

  async #follow(): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      this.#isAsked = false;
      this.#passes += 1;
      const pass = this.#passes;
      const beganAtMs = performance.now();
      try {
        await this.#pass();
        this.#caughtUpAtMs = beganAtMs;
        this.#isAway = false;
        await this.#options.onPass();
        const done = this.#catchingUp.filter(({ afterPass }) => afterPass < pass);
        this.#catchingUp = this.#catchingUp.filter(({ afterPass }) => afterPass >= pass);
        for (const { resolve } of done) resolve(true);
        await this.#pause(FOLLOW_INTERVAL_MS);
      } catch (error) {
        if (this.#stopped.signal.aborted) return;
        if (!(error instanceof StoreUnavailableError)) this.#options.onError(error);
        this.#isAway = true;
        for (const { resolve } of this.#catchingUp.splice(0)) resolve(false);
        // Hints don't shorten it: with the store away everybody who asks would be one.
        this.#isAsked = false;
        await this.#pause(RETRY_MS, false);
      }
    }
  }

  /** To the end of the log. */
  async #pass(): Promise<void> {
    const { changes, onStep } = this.#options;
    if (this.#cursor === undefined) {
      const to = await withDeadline(changes.cursor(), LOAD_DEADLINE_MS);
      // Nothing is known yet that could be old.
      await onStep({ kind: 'changes', publicKeys: [], from: to, to });
      this.#cursor = to;
      return;
    }
    for (let more = true; more; ) {
      const from: string = this.#cursor;
      const result: ChangesResult = await withDeadline(changes.since(from), LOAD_DEADLINE_MS);
      if (this.#stopped.signal.aborted) return;
      const { cursor: to } = result;
      if (result.kind === 'reset') await onStep({ kind: 'reset', to });
      else if (to !== from || result.publicKeys.length > 0) {
        await onStep({ kind: 'changes', publicKeys: result.publicKeys, from, to });
      }
      this.#cursor = to;
      more = result.kind === 'changes' && result.more;
    }
  }

  #pause(ms: number, canBeWoken = true): Promise<void> {
    if (canBeWoken && this.#isAsked) return Promise.resolve();
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#wake = () => {};
        resolve();
      };
      const timer = setTimeout(end, ms);
      timer.unref();
      this.#wake = () => {
        if (canBeWoken || this.#stopped.signal.aborted) end();
      };
    });
  }
}
