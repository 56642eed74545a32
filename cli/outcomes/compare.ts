import type { Counts, Kind, Subject } from './counts.ts';
import { TAKEN } from './counts.ts';
import type { Found } from './find-events.ts';
import type { LogTally } from './log-tally.ts';

/** Received, as the log has it, and what became of it, as the store has counted it. */
export interface AuditRow extends Subject {
  readonly received: bigint;
  readonly counted: ReadonlyMap<Kind, bigint>;
}

export interface Imbalance {
  readonly organizationId: bigint;
  readonly projectId: bigint;
  readonly category: string;
  readonly what: string;
  readonly expected: bigint;
  readonly counted: bigint;
}

/** By whose it is and what of: what the log has against what was counted, in all hours from one on. */
export function compare(
  expected: Counts,
  counted: Counts,
  fromMs: number,
): { rows: AuditRow[]; imbalances: Imbalance[] } {
  const inLog = expected.bySubject(fromMs);
  const inStore = counted.bySubject(fromMs);
  const rows: AuditRow[] = [];
  const imbalances: Imbalance[] = [];
  for (const key of [...new Set([...inLog.keys(), ...inStore.keys()])].sort()) {
    const subject = inLog.get(key)?.subject ?? inStore.get(key)?.subject;
    if (subject === undefined) continue;
    const logged = inLog.get(key)?.kinds ?? new Map<Kind, bigint>();
    const saved = inStore.get(key)?.kinds ?? new Map<Kind, bigint>();
    rows.push({ ...subject, received: sum(logged, [...logged.keys()]), counted: saved });
    const others = new Set([...logged.keys(), ...saved.keys()].filter((kind) => !TAKEN.includes(kind)));
    for (const kinds of [TAKEN, ...[...others].map((kind) => [kind])]) {
      const [want, have] = [sum(logged, kinds), sum(saved, kinds)];
      if (want !== have) imbalances.push({ ...subject, what: kinds.join(' + '), expected: want, counted: have });
    }
  }
  return { rows, imbalances };
}

/**
 * Whatever the counts say of duplicates: what was accepted is as many as there are different ones. Not where some events
 * have expired, and it can't be told any more.
 */
export function acceptedOnce(rows: readonly AuditRow[], tally: LogTally, found: Found): Imbalance[] {
  const sums = new Map<bigint, { organizationId: bigint; counted: bigint }>();
  for (const { organizationId, projectId, category, counted } of rows) {
    if (category === 'attachment' || category === 'attachment_item') continue;
    const known = sums.get(projectId)?.counted ?? 0n;
    sums.set(projectId, { organizationId, counted: known + (counted.get('accepted') ?? 0n) });
  }
  const imbalances: Imbalance[] = [];
  for (const [projectId, { organizationId, counted }] of sums) {
    if (found.expiredIn.has(projectId)) continue;
    const different = (found.storedIn.get(projectId) ?? 0) + (tally.reports.get(projectId)?.size ?? 0);
    const expected = BigInt(different) + (tally.acceptedElsewhere.get(projectId) ?? 0n);
    if (expected === counted) continue;
    imbalances.push({ organizationId, projectId, category: '*', what: 'accepted, each once', expected, counted });
  }
  return imbalances;
}

function sum(kinds: ReadonlyMap<Kind, bigint>, which: readonly Kind[]): bigint {
  return which.reduce((total, kind) => total + (kinds.get(kind) ?? 0n), 0n);
}
