import type { ChangeStep } from './change-follower.ts';
import type { ConfigEntry } from './config-entry.ts';

/**
 * The second level: entries that all processes share, and that outlive them. It is never needed: where it is away or
 * can't be trusted, it answers nothing, after {@link SHARED_DEADLINE_MS} at most, and lookups go to the store.
 *
 * An entry that it answers is never older than this process's place in the change log. That holds over races, restarts,
 * failovers, flushes and evictions, by these rules:
 *
 * - *Shards.* Keys are spread over shards, each on one server. A shard has a **cursor** of the change log, and the
 *   invariant: for every change up to the cursor, the changed keys have been removed from the shard. So an entry that is
 *   there is as of the cursor or later.
 * - *Leases.* Who finds nothing takes a lease in the entry's place, then asks the store, and may write only where its
 *   lease still stands. A change removes leases too. So what was read before a change is never written after it, whoever
 *   is slow, and an older revision never replaces a newer one.
 * - *Everybody removes.* Each process removes the keys of each change, then writes the change's cursor. Removing twice
 *   does no harm, and a cursor that goes back is still true.
 * - *Marks.* With the cursor a process writes a mark of its own, a number that rises. Reads answer nothing unless the mark
 *   is the last one written. Servers may lose their last writes, but not others before them: where the mark is there, so
 *   is everything that was removed.
 * - *Joining.* A process without a valid mark (new, or after a mismatch or a failed write) takes the shard's cursor, asks
 *   the store what changed since, removes that, and writes its mark. If the store can't tell, it begins a new
 *   **generation**: entries of others count as not there. So a restart costs one question to the store, not one a key.
 */
export interface SharedConfigs {
  /** What it has of these keys, and leases for those it has not. Keys that are missing have neither. Never throws. */
  read(publicKeys: readonly string[]): Promise<Map<string, SharedAnswer>>;
  /** Writes an entry that the store answered after the lease was taken. Never waits, never throws. */
  write(publicKey: string, lease: string, entry: ConfigEntry): void;
  /** From the call on, nothing is answered that the step has made old. Settles when it is done there, or given up. */
  apply(step: ChangeStep): Promise<void>;
  /** Called between steps: joins where there is something to join, and keeps marks alive. Never throws. */
  maintain(cursor: string): Promise<void>;
  close(): void;
}

export type SharedAnswer =
  | { readonly kind: 'entry'; readonly entry: ConfigEntry }
  | { readonly kind: 'lease'; readonly lease: string };

export const SHARED_DEADLINE_MS = 100;
