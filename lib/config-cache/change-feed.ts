import type { ChangeLog } from '#lib/store/store.ts';
import type { ChangeStep } from './change-follower.ts';
import { LOAD_DEADLINE_MS, type Watch, type WatchedChange } from './config-cache.ts';
import { withDeadline } from './store-loader.ts';

/** Keys that wait for a watcher. With more it is told to forget everything, which costs nothing to keep. */
export const MAX_WAITING_KEYS = 10_000;
/** Keys in one message: well below what receivers take by default. */
export const MAX_KEYS_AT_ONCE = 5_000;
/** Steps that a watcher can resume after without a question to the store, as after a reconnect. */
const REMEMBERED_STEPS = 1_000;
const REMEMBERED_KEYS = 100_000;

/** Tells watchers what the follower hears. Nobody waits for a watcher, and what waits for one is bounded. */
export class ChangeFeed {
  readonly #changes: ChangeLog;
  readonly #watchers = new Set<Watcher>();
  /** The latest steps, by where they begin. */
  readonly #steps = new Map<string, Extract<ChangeStep, { kind: 'changes' }>>();
  #stepKeys = 0;
  #cursor: string | undefined;

  constructor(changes: ChangeLog) {
    this.#changes = changes;
  }

  add(step: ChangeStep): void {
    this.#cursor = step.to;
    if (step.kind === 'reset') this.#forget();
    else this.#remember(step);
    for (const watcher of this.#watchers) watcher.tell(step);
  }

  /** True: this process has been there. False says nothing. */
  hasPassed(cursor: string): boolean {
    return cursor === this.#cursor || this.#steps.has(cursor);
  }

  watch(since: string, signal: AbortSignal): Watch {
    const watcher = new Watcher(signal, () => this.#watchers.delete(watcher));
    if (signal.aborted) watcher.close();
    else this.#watchers.add(watcher);
    if (this.#cursor !== undefined && (since === '' || since === this.#cursor)) watcher.begin(this.#cursor);
    else if (this.hasPassed(since)) this.#tellRemembered(watcher, since);
    else watcher.begin(since, this.#changes);
    return watcher;
  }

  #tellRemembered(watcher: Watcher, since: string): void {
    watcher.begin(since);
    for (let step = this.#steps.get(since); step !== undefined; step = this.#steps.get(step.to)) watcher.tell(step);
  }

  #remember(step: Extract<ChangeStep, { kind: 'changes' }>): void {
    // A chain that comes back to where it was would never end.
    if (step.from === step.to) return;
    this.#steps.set(step.from, step);
    this.#stepKeys += step.publicKeys.length;
    for (const [from, { publicKeys }] of this.#steps) {
      if (this.#steps.size <= REMEMBERED_STEPS && this.#stepKeys <= REMEMBERED_KEYS) return;
      this.#steps.delete(from);
      this.#stepKeys -= publicKeys.length;
    }
  }

  #forget(): void {
    this.#steps.clear();
    this.#stepKeys = 0;
  }
}

/**
 * One watcher: a set of keys that it has not been told of, and a cursor that stands for all it has been told. Its cursor
 * may be older than what it was told; then it hears some of it again.
 */
class Watcher implements Watch {
  readonly #signal: AbortSignal;
  readonly #onClose: () => void;
  readonly #waiting = new Set<string>();
  /** What the keys that wait lead to, once they have all been told. */
  #cursor = '';
  #told = '';
  #isReset = false;
  #isNew = true;
  #isOver = false;
  /** Reads the log up to where the live steps are heard. */
  #behind: ChangeLog | undefined;
  #wake: () => void = () => {};

  constructor(signal: AbortSignal, onClose: () => void) {
    this.#signal = signal;
    this.#onClose = onClose;
    signal.addEventListener('abort', this.close, { once: true });
  }

  /** `behind`: the log says what is between `cursor` and now. */
  begin(cursor: string, behind?: ChangeLog): void {
    this.#cursor = cursor;
    this.#told = cursor;
    this.#behind = behind;
  }

  tell(step: ChangeStep): void {
    // The log is still read, so its end is what counts; this step may lie before it.
    if (this.#behind === undefined) this.#cursor = step.to;
    if (step.kind === 'reset') this.#reset();
    else this.#add(step.publicKeys);
    this.#wake();
  }

  async next(timeoutMs: number): Promise<WatchedChange | undefined> {
    if (this.#behind !== undefined) await this.#catchUp(this.#behind);
    if (!this.#isNew && !this.#hasNews() && !this.#isOver) await this.#pause(timeoutMs);
    if (this.#isOver) return undefined;
    this.#isNew = false;
    const reset = this.#isReset;
    this.#isReset = false;
    const publicKeys = [...this.#waiting].slice(0, MAX_KEYS_AT_ONCE);
    for (const key of publicKeys) this.#waiting.delete(key);
    if (this.#waiting.size === 0) this.#told = this.#cursor;
    return { cursor: this.#told, publicKeys, reset };
  }

  close = (): void => {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#waiting.clear();
    this.#signal.removeEventListener('abort', this.close);
    this.#onClose();
    this.#wake();
  };

  /** @throws StoreUnavailableError */
  async #catchUp(changes: ChangeLog): Promise<void> {
    for (let more = true; more && !this.#isOver; ) {
      const cursor: string = this.#cursor;
      if (cursor === '') {
        this.#cursor = await withDeadline(changes.cursor(), LOAD_DEADLINE_MS);
        break;
      }
      const result = await withDeadline(changes.since(cursor), LOAD_DEADLINE_MS);
      this.#cursor = result.cursor;
      if (result.kind === 'reset') this.#reset();
      else this.#add(result.publicKeys);
      more = result.kind === 'changes' && result.more;
    }
    this.#behind = undefined;
  }

  #hasNews(): boolean {
    return this.#isReset || this.#waiting.size > 0;
  }

  #add(publicKeys: readonly string[]): void {
    // Whoever forgets everything needs no names.
    if (this.#isReset) return;
    for (const key of publicKeys) this.#waiting.add(key);
    if (this.#waiting.size > MAX_WAITING_KEYS) this.#reset();
  }

  #reset(): void {
    this.#waiting.clear();
    this.#isReset = true;
  }

  #pause(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#wake = () => {};
        resolve();
      };
      const timer = setTimeout(end, timeoutMs);
      this.#wake = end;
    });
  }
}
