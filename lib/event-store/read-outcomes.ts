import type { Kysely } from 'kysely';
import type { OutcomeCount, OutcomeQuery, OutcomeTotal } from './event-store.ts';
import type { EventSchema, OutcomeTotalTable } from './schema.ts';
import { isStorable, storableBound } from './storable-number.ts';
import { storableText } from './storable-text.ts';

const COLUMNS = [
  'organization_id',
  'project_id',
  'key_id',
  'outcome',
  'reason',
  'category',
  'quantity',
  'times',
] as const satisfies (keyof OutcomeTotalTable)[];

/** By hour, oldest first. */
export async function readOutcomes(db: Kysely<EventSchema>, query: OutcomeQuery): Promise<OutcomeCount[]> {
  const { organizationId, projectId, keyId, category, fromMs, toMs, limit } = query;
  if (keyId !== undefined && !isStorable(keyId)) return [];
  const rows = await db
    .selectFrom('outcome_hours')
    .select([...COLUMNS, 'hour_ms'])
    .where('organization_id', '=', organizationId)
    .where('hour_ms', '>=', storableBound(fromMs))
    .where('hour_ms', '<', storableBound(toMs))
    .$if(projectId !== undefined, (select) => select.where('project_id', '=', projectId ?? 0n))
    .$if(keyId !== undefined, (select) => select.where('key_id', '=', keyId ?? 0n))
    .$if(category !== undefined, (select) => select.where('category', '=', storableText(category ?? '')))
    .orderBy('hour_ms')
    .orderBy('project_id')
    .orderBy('key_id')
    .orderBy('outcome')
    .orderBy('reason')
    .orderBy('category')
    .limit(limit)
    .execute();
  return rows.map((row) => ({ ...totalOf(row), hourMs: Number(row.hour_ms) }));
}

export async function readTotals(db: Kysely<EventSchema>, organizationId: bigint | undefined): Promise<OutcomeTotal[]> {
  const rows = await db
    .selectFrom('outcome_totals')
    .select(COLUMNS)
    .$if(organizationId !== undefined, (select) => select.where('organization_id', '=', organizationId ?? 0n))
    .orderBy('organization_id')
    .orderBy('project_id')
    .orderBy('key_id')
    .orderBy('outcome')
    .orderBy('reason')
    .orderBy('category')
    .execute();
  return rows.map(totalOf);
}

function totalOf(row: OutcomeTotalTable): OutcomeTotal {
  return {
    organizationId: row.organization_id,
    projectId: row.project_id,
    keyId: row.key_id,
    outcome: row.outcome as OutcomeTotal['outcome'],
    reason: row.reason,
    category: row.category as OutcomeTotal['category'],
    quantity: row.quantity,
    times: row.times,
  };
}
