import { createHash } from 'node:crypto';
import type { Transaction } from 'kysely';
import { MultiRowInsert } from '#lib/sql/multi-row-insert.ts';
import { expiresDayOf } from './days.ts';
import { bytesOfEventId, eventIdOf, eventKey } from './event-id.ts';
import type { NewUserReport } from './event-store.ts';
import type { OutcomeCounter } from './outcome-counter.ts';
import type { EventSchema, UserReportTable } from './schema.ts';

const COLUMNS = [
  'project_id',
  'event_id',
  'digest',
  'organization_id',
  'key_id',
  'received_ms',
  'expires_day',
  'body',
] as const satisfies (keyof UserReportTable)[];
const insertReports = new MultiRowInsert<EventSchema, keyof UserReportTable>(
  COLUMNS,
  (db, rows) =>
    db
      .insertInto('user_reports')
      .values(rows)
      .onConflict((conflict) => conflict.doNothing())
      .returning(['project_id', 'event_id', 'digest']),
  16,
);

/** Saves those that are not there yet, and counts all of them, as feedback. */
export async function saveUserReports(
  tx: Transaction<EventSchema>,
  reports: readonly NewUserReport[],
  counter: OutcomeCounter,
): Promise<void> {
  if (reports.length === 0) return;
  const wanted = new Map<string, { report: NewUserReport; digest: Buffer }>();
  for (const report of reports) {
    const digest = createHash('sha256').update(report.body).digest();
    const key = reportKey(report.projectId, report.eventId, digest);
    if (wanted.has(key)) counter.addFor(report, { outcome: 'invalid', reason: 'duplicate' }, 'feedback', 1);
    else wanted.set(key, { report, digest });
  }
  const rows = [...wanted.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { report, digest }]) => [
      report.projectId,
      bytesOfEventId(report.eventId),
      digest,
      report.organizationId,
      report.keyId,
      BigInt(report.receivedMs),
      BigInt(expiresDayOf(report)),
      report.body,
    ]);
  const saved = await insertReports.run<Pick<UserReportTable, 'project_id' | 'event_id' | 'digest'>>(tx, rows);
  const fresh = new Set(saved.map((row) => reportKey(row.project_id, eventIdOf(row.event_id), row.digest)));
  for (const [key, { report }] of wanted) {
    const result = fresh.has(key)
      ? ({ outcome: 'accepted' } as const)
      : ({ outcome: 'invalid', reason: 'duplicate' } as const);
    counter.addFor(report, result, 'feedback', 1);
  }
}

function reportKey(projectId: bigint, eventId: string, digest: Uint8Array): string {
  return `${eventKey(projectId, eventId)}/${Buffer.from(digest).toString('base64')}`;
}
