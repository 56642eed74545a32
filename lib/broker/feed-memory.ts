import type { Entry } from './broker.ts';
import type { Shared } from './due.ts';
import { BEFORE_ALL, compareEntryIds, type EntryId } from './entry-id.ts';
import { includes, type Standing } from './missing.ts';

/** Entries kept to tell a repeated live entry from a rolled-back one, and for the last step of a reader's catch-up. */
const RECENT_ENTRIES = 64;

/** What the feed of a channel remembers: its last entries, without a hole between them, and how far a lost log went. */
export class FeedMemory<D> {
  #recent: Shared<D>[] = [];
  /** What was read when the log went back, if it did: what comes live with an id up to there may be of what was lost. */
  #wentBackFrom: EntryId = BEFORE_ALL;

  add(recent: Shared<D>): void {
    this.#recent.push(recent);
    if (this.#recent.length > RECENT_ENTRIES) this.#recent.shift();
  }

  /** There is a hole: what was before it leads nobody on. */
  forget(): void {
    this.#recent = [];
  }

  /** An entry that was delivered counts this one. */
  hasDelivered(id: EntryId): boolean {
    return this.#recent.some(({ entry }) => includes(entry, id));
  }

  /** The form of it that those who had it share. */
  sharedOf({ id, prev }: Entry): D | undefined {
    return this.#recent.find(({ entry }) => entry.id === id && entry.prev === prev)?.shared;
  }

  /** All that has come since `at`; undefined if that can't be said. */
  since(at: EntryId): readonly Shared<D>[] | undefined {
    const next = this.#recent.findIndex(({ entry }) => entry.prev === at && !this.mayBeLost(entry.id));
    return next < 0 ? undefined : this.#recent.slice(next);
  }

  /** Takes note that the log went back, if this says so, below what was read up to `from`. */
  wentBack({ notice }: Standing, from: EntryId): void {
    if (notice.type !== 'gap' && compareEntryIds(from, this.#wentBackFrom) > 0) this.#wentBackFrom = from;
  }

  mayBeLost(id: EntryId): boolean {
    return this.#wentBackFrom !== BEFORE_ALL && compareEntryIds(id, this.#wentBackFrom) <= 0;
  }
}
