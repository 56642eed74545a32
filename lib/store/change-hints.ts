import { EventEmitter } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Access } from './access.ts';

/** Less than MAX_HINT_DELAY_MS, as the query takes time too. */
const POLL_MS = 400;

/**
 * Tells listeners that there may be more in the change log: at once after this process's commits and PostgreSQL's
 * notifications, and by looking at the last number for all that these may miss (another process on the same SQLite file, a
 * connection that broke).
 */
export class ChangeHints {
  readonly #access: Access;
  readonly #hints = new EventEmitter<{ hint: [] }>().setMaxListeners(0);
  #polling: AbortController | undefined;
  #stops: (() => void)[] = [];

  constructor(access: Access) {
    this.#access = access;
  }

  onChange(listener: () => void): () => void {
    // Each its own, so that one given twice can be ended twice.
    const own = () => listener();
    this.#hints.on('hint', own);
    this.#start();
    return () => {
      this.#hints.off('hint', own);
      if (this.#hints.listenerCount('hint') === 0) this.close();
    };
  }

  close(): void {
    this.#polling?.abort();
    this.#polling = undefined;
    for (const stop of this.#stops.splice(0)) stop();
  }

  #start(): void {
    if (this.#polling !== undefined) return;
    const hint = () => void this.#hints.emit('hint');
    this.#stops = [this.#access.onCommit(hint), this.#access.database.listen(hint)];
    this.#polling = new AbortController();
    void this.#poll(this.#polling.signal, hint);
  }

  async #poll(signal: AbortSignal, hint: () => void): Promise<void> {
    let seen: bigint | undefined;
    for (;;) {
      try {
        const last = await this.#lastNumber();
        // Also at first: there may have been changes before anybody looked.
        if (signal.aborted) return;
        if (last !== seen) hint();
        seen = last;
      } catch {
        // Whoever reads the log hears of it; here it is asked again.
      }
      await delay(POLL_MS, undefined, { ref: false, signal }).catch(() => undefined);
      if (signal.aborted) return;
    }
  }

  async #lastNumber(): Promise<bigint> {
    const { number } = await this.#access.read((db) =>
      db.selectFrom('store_state').select('number').executeTakeFirstOrThrow(),
    );
    return number;
  }
}
