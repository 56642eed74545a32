import type { Transaction } from 'kysely';
import { isFirstOf, type Outcome } from '#lib/ingest/outcome.ts';
import { MultiRowInsert } from '#lib/sql/multi-row-insert.ts';
import { keyOf, type PartitionOfGroup } from './positions.ts';
import type { EventSchema, OutcomeWriterTable } from './schema.ts';
import { storableText } from './storable-text.ts';

/** After its last outcome. An append that is repeated later than that counts anew. */
export const WRITERS_KEPT_DAYS = 30;

const COLUMNS = [
  'consumer_group',
  'topic_id',
  'topic_partition',
  'writer',
  'last_sequence',
  'expires_day',
] as const satisfies (keyof OutcomeWriterTable)[];
const KEY = COLUMNS.slice(0, 4);
const saveWriters = new MultiRowInsert<EventSchema, keyof OutcomeWriterTable>(COLUMNS, (db, rows) =>
  db
    .insertInto('outcome_writers')
    .values(rows)
    .onConflict((conflict) =>
      conflict.columns(KEY).doUpdateSet((eb) => ({
        last_sequence: eb.ref('excluded.last_sequence'),
        expires_day: eb.ref('excluded.expires_day'),
      })),
    ),
);

/** Those that have not been counted, in the order of the log. Nobody else has these rows while the position is locked. */
export async function takeNewOutcomes(
  tx: Transaction<EventSchema>,
  of: PartitionOfGroup,
  outcomes: readonly Outcome[],
  today: number,
): Promise<readonly Outcome[]> {
  const writers = new Set(outcomes.flatMap(({ stamp }) => (stamp === undefined ? [] : storableText(stamp.writer))));
  if (writers.size === 0) return outcomes;
  const key = keyOf(of);
  const rows = await tx
    .selectFrom('outcome_writers')
    .select(['writer', 'last_sequence'])
    .where(({ and }) => and(key))
    .where('writer', 'in', [...writers])
    .execute();
  const last = new Map(rows.map(({ writer, last_sequence }) => [writer, Number(last_sequence)]));
  const fresh = outcomes.filter(
    ({ stamp }) => stamp === undefined || isFirstOf(last, storableText(stamp.writer), stamp.sequence),
  );
  const expiresDay = BigInt(today + WRITERS_KEPT_DAYS);
  await saveWriters.run(
    tx,
    [...last].map(([writer, sequence]) => [
      ...[key.consumer_group, key.topic_id, key.topic_partition, writer],
      ...[BigInt(sequence), expiresDay],
    ]),
  );
  return fresh;
}
