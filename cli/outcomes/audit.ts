import type { EventStore, OutcomeTotal } from '#lib/event-store/event-store.ts';
import type { Log } from '#lib/log/log.ts';
import { type AuditRow, acceptedOnce, compare, type Imbalance } from './compare.ts';
import { Counts } from './counts.ts';
import { type EventsFound, findEvents, named } from './find-events.ts';
import { LogTally } from './log-tally.ts';
import { countEvents } from './logged-events.ts';

export interface AuditOptions {
  readonly log: Log;
  readonly store: EventStore;
  readonly now: () => number;
}

export type AuditResult = NotYet | Audited;

/** The consumers have not come to the end of the log, or somebody appends to it just now. */
export interface NotYet {
  readonly kind: 'not_yet';
  readonly behind: bigint;
  /** What the log's retention has taken before it was handled. Once the consumers are beyond it nobody can tell. */
  readonly lost: bigint;
}

export interface Audited {
  readonly kind: 'audited';
  /** 0: since ever. Else what came before is not compared, as the log's retention has taken a part of it. */
  readonly fromMs: number;
  readonly rows: readonly AuditRow[];
  readonly imbalances: readonly Imbalance[];
  readonly events: EventsFound;
  /** What else is wrong, in words. */
  readonly problems: readonly string[];
}

const MAX_COUNTS = 1_000_000;

/**
 * Compares what the log has with what the store has and has counted. A log that grows meanwhile may look unbalanced: then it
 * is compared once more before it is said.
 */
export async function auditOutcomes(options: AuditOptions): Promise<AuditResult> {
  const first = await auditOnce(options);
  return first.kind === 'audited' && !isBalanced(first) ? auditOnce(options) : first;
}

export function isBalanced({ imbalances, problems }: Audited): boolean {
  return imbalances.length === 0 && problems.length === 0;
}

async function auditOnce({ log, store, now }: AuditOptions): Promise<AuditResult> {
  const tally = await LogTally.read(log);
  const before = await compareEnds(store, tally);
  if (before !== undefined) return before;
  const fromMs = tally.wholeFromMs;
  const totals = await store.totals();
  const counts = await countsOf(store, totals, fromMs);
  await countEvents(tally.events.values(), tally.counts, store);
  // What was counted belongs to these positions: they have not moved meanwhile.
  const after = await compareEnds(store, tally);
  if (after !== undefined) return after;

  const { rows, imbalances } = compare(tally.counts, counts, fromMs);
  const found = await findEvents(store, tally, now());
  if (fromMs === 0) imbalances.push(...acceptedOnce(rows, tally, found));
  const problems = [...found.problems];
  if (tally.unreadable.length > 0) {
    problems.push(...named('records can not be read, and are no dead letters', tally.unreadable));
  }
  return { kind: 'audited', fromMs, rows, imbalances, events: found.events, problems };
}

/** Whether the store is at the ends of what was read: undefined. */
async function compareEnds(store: EventStore, { partitions }: LogTally): Promise<NotYet | undefined> {
  let isThere = true;
  let behind = 0n;
  let lost = 0n;
  for (const { group, topicId, partition, firstOffset, endOffset } of partitions.values()) {
    const position = (await store.position(group, topicId, partition))?.offset ?? 0n;
    if (position === endOffset) continue;
    isThere = false;
    if (position < firstOffset) lost += firstOffset - position;
    if (position < endOffset) behind += endOffset - (position > firstOffset ? position : firstOffset);
  }
  return isThere ? undefined : { kind: 'not_yet', behind, lost };
}

async function countsOf(store: EventStore, totals: readonly OutcomeTotal[], fromMs: number): Promise<Counts> {
  const counts = new Counts();
  if (fromMs === 0) {
    for (const total of totals) counts.add({ ...total, timestampMs: 0 });
    return counts;
  }
  const everything = { projectId: undefined, keyId: undefined, category: undefined };
  for (const organizationId of new Set(totals.map((total) => total.organizationId))) {
    const query = { ...everything, organizationId, fromMs, toMs: Number.MAX_SAFE_INTEGER, limit: MAX_COUNTS };
    for (const count of await store.outcomes(query)) counts.add({ ...count, timestampMs: count.hourMs });
  }
  return counts;
}
