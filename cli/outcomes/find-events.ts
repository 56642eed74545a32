import { dayOf } from '#lib/event-store/days.ts';
import type { EventStore } from '#lib/event-store/event-store.ts';
import type { LogTally } from './log-tally.ts';
import type { LoggedEvent } from './logged-events.ts';

/** Where the events of the log are, each counted once. */
export interface EventsFound {
  readonly logged: number;
  readonly stored: number;
  readonly expired: number;
  readonly putAside: number;
  readonly missing: number;
}

export interface Found {
  readonly events: EventsFound;
  /** How many of each project are stored. */
  readonly storedIn: ReadonlyMap<bigint, number>;
  /** Projects of which some have expired. */
  readonly expiredIn: ReadonlySet<bigint>;
  /** In words. */
  readonly problems: readonly string[];
}

/** SQLite answers one by one anyway, PostgreSQL by its pool. */
const LOOKUPS_AT_ONCE = 10;
const MAX_NAMED = 20;

/** Looks for every event of the log. */
export async function findEvents(store: EventStore, tally: LogTally, nowMs: number): Promise<Found> {
  const today = dayOf(nowMs);
  const storedIn = new Map<bigint, number>();
  const expiredIn = new Set<bigint>();
  const missing: string[] = [];
  let [stored, expired, putAside] = [0, 0, 0];

  async function look({ projectId, eventId, expiresDay }: LoggedEvent, isPutAside: boolean): Promise<void> {
    const found = await store.get(projectId, eventId);
    if (found !== undefined) {
      stored++;
      storedIn.set(projectId, (storedIn.get(projectId) ?? 0) + 1);
    } else if (isPutAside) {
      putAside++;
    } else if (expiresDay <= today) {
      expired++;
      expiredIn.add(projectId);
    } else {
      missing.push(`project ${projectId}, event ${eventId}`);
    }
  }

  await inParallel(tally.events.values(), (event) => look(event, false));
  await inParallel(tally.putAsideEvents.values(), (event) => look(event, true));
  const logged = tally.events.size + tally.putAsideEvents.size;
  const problems = missing.length === 0 ? [] : named('events of the log are not stored', missing);
  return { events: { logged, stored, expired, putAside, missing: missing.length }, storedIn, expiredIn, problems };
}

export function named(what: string, all: readonly string[]): string[] {
  const more = all.length > MAX_NAMED ? [`  … and ${all.length - MAX_NAMED} more`] : [];
  return [`${all.length} ${what}:`, ...all.slice(0, MAX_NAMED).map((each) => `  ${each}`), ...more];
}

async function inParallel<T>(items: Iterable<T>, act: (item: T) => Promise<void>): Promise<void> {
  const iterator = items[Symbol.iterator]();
  const work = async () => {
    for (let next = iterator.next(); !next.done; next = iterator.next()) await act(next.value);
  };
  await Promise.all(Array.from({ length: LOOKUPS_AT_ONCE }, work));
}
