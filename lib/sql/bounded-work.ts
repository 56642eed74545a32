import { StoreUnavailableError } from './database-errors.ts';
import { withDeadline } from './deadline.ts';

export interface BoundedWorkOptions {
  /** What it is, for who is refused. */
  readonly name: string;
  /** How many may be under way or waiting in this process. */
  readonly max: number;
  readonly timeoutMs: number;
}

/** Queries of one kind: only so many at once, each with a deadline, none after the end. */
export class BoundedWork {
  readonly #options: BoundedWorkOptions;
  readonly #underWay = new Set<Promise<unknown>>();
  #isClosed = false;

  constructor(options: BoundedWorkOptions) {
    this.#options = options;
  }

  /** @throws StoreUnavailableError */
  async run<T>(act: () => Promise<T>): Promise<T> {
    const { name, max, timeoutMs } = this.#options;
    if (this.#isClosed) throw new StoreUnavailableError('the store is closed');
    if (this.#underWay.size >= max) throw new StoreUnavailableError(`too many ${name} are waiting`);
    // What is given up on still counts until it ends.
    const work: Promise<T> = act().finally(() => this.#underWay.delete(work));
    this.#underWay.add(work);
    return withDeadline(work, timeoutMs);
  }

  /** Refuses what comes from now on. Resolves when all that came before has ended, which the database's limits bound. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.allSettled([...this.#underWay]);
  }
}
