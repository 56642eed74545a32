import type { Entry, Tail } from './broker.ts';
import { BEFORE_ALL, compareEntryIds, type EntryId } from './entry-id.ts';
import type { Notice } from './follow.ts';

// What a reader is missing, by the chain of ids: before an entry, between entries, and after the last.

/** What to tell a reader, and where it stands then. */
export interface Standing {
  readonly notice: Notice;
  readonly cursor: EntryId | undefined;
}

/** What to tell a reader at `at` for whom the log holds nothing more. */
export function standing(at: EntryId | undefined, tail: Tail): Standing | undefined {
  if (tail.last !== BEFORE_ALL) {
    const beyond = at !== undefined && compareEntryIds(at, tail.last) > 0;
    return beyond ? { notice: { type: 'reset' }, cursor: tail.last } : undefined;
  }
  if (at === tail.sealedBy) return undefined;
  return { notice: { type: 'expired' }, cursor: tail.sealedBy };
}

/**
 * Of what was read, what is behind a place that was reached meanwhile. Undefined: the answer does not say, it has to be read
 * again.
 */
export function behind(
  at: EntryId,
  { entries, tail }: { readonly entries: readonly Entry[]; readonly tail: Tail },
): readonly Entry[] | undefined {
  const order = compareEntryIds(tail.last, at);
  // An end before that place is of another log.
  if (order <= 0) return order < 0 && tail.sealedBy !== undefined ? undefined : [];
  const known = entries.findIndex(({ id }) => id === at);
  return known < 0 ? undefined : entries.slice(known + 1);
}

export interface Run {
  readonly first: Entry;
  readonly last: Entry;
  readonly entries: readonly Entry[];
}

/** Entries between which nothing is missing. A sealing one is the last of all. */
export function runsOf(entries: readonly Entry[]): Run[] {
  const runs: Run[] = [];
  let from = 0;
  for (let next = 1; next <= entries.length; next++) {
    const [first, last, following] = [entries[from], entries[next - 1], entries[next]];
    if (first === undefined || last === undefined) continue;
    if (following !== undefined && !last.seals && holeBefore(following, last.id) === undefined) continue;
    runs.push({ first, last, entries: entries.slice(from, next) });
    if (last.seals) break;
    from = next;
  }
  return runs;
}

/**
 * What to tell a reader that has received everything up to `at`, before it gets `entry`. A `prev` from before its place
 * means that the log was rolled back and has gone on since: others may have come between, in another log than the
 * reader's, with ids that it has passed.
 */
export function holeBefore(entry: Entry, at: EntryId | undefined): Standing | undefined {
  const order = compareEntryIds(entry.prev, at ?? BEFORE_ALL);
  if (order > 0) return { notice: { type: 'gap', firstId: entry.id }, cursor: at };
  if (order === 0) return undefined;
  if (entry.prev === BEFORE_ALL) return { notice: { type: 'expired' }, cursor: undefined };
  return { notice: { type: 'reset' }, cursor: entry.prev };
}

/**
 * Whether an entry counts the one with this id: it may stand for several, where it may be joined at all. Another of the same
 * place, in a log that was rolled back, is found by the chain and by the tail check.
 */
export function includes({ id, prev, coalesceMs }: Entry, other: EntryId): boolean {
  if (id === other) return true;
  return coalesceMs !== undefined && compareEntryIds(prev, other) < 0 && compareEntryIds(other, id) < 0;
}
