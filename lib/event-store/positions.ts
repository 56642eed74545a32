import type { Kysely, Transaction } from 'kysely';
import type { DatabaseKind } from '#lib/sql/database-kind.ts';
import type { EventDatabase } from './database.ts';
import type { EffectBatch, PartitionEnd } from './event-store.ts';
import type { EventSchema } from './schema.ts';

export type PartitionOfGroup = Pick<EffectBatch, 'group' | 'topicId' | 'partition'>;

export async function readPosition(db: Kysely<EventSchema>, of: PartitionOfGroup): Promise<bigint | undefined> {
  return (await select(db, of).executeTakeFirst())?.next_offset;
}

/**
 * How far the group is, for as long as the transaction goes on: whoever applies records of the same partition at this
 * moment, because it moved from one process to another, waits, and then sees that they are applied.
 */
export async function lockPosition(
  tx: Transaction<EventSchema>,
  kind: DatabaseKind,
  of: PartitionOfGroup,
): Promise<bigint> {
  // On SQLite the transaction began with the lock.
  const locked = () => (kind === 'postgres' ? select(tx, of).forUpdate() : select(tx, of)).executeTakeFirst();
  const found = await locked();
  if (found !== undefined) return found.next_offset;
  await tx
    .insertInto('log_positions')
    .values({ ...keyOf(of), next_offset: 0n })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  return (await locked())?.next_offset ?? 0n;
}

export async function movePosition(tx: Transaction<EventSchema>, of: PartitionOfGroup, next: bigint): Promise<void> {
  const key = keyOf(of);
  await tx
    .updateTable('log_positions')
    .set({ next_offset: next })
    .where(({ and }) => and(key))
    .execute();
}

/** @returns whether there was one. */
export async function takePositionBack({ writer }: EventDatabase, lost: PartitionEnd): Promise<boolean> {
  if (writer === undefined) throw new Error('the event store was opened to be read');
  const { offset, handledUntil } = lost;
  const key = keyOf(lost);
  await writer
    .updateTable('log_positions')
    .set({ next_offset: offset })
    .where(({ and }) => and(key))
    // Whoever has told it before has since gone on.
    .where('next_offset', '>=', handledUntil)
    .execute();
  return (await readPosition(writer, lost)) !== undefined;
}

function select(db: Kysely<EventSchema>, of: PartitionOfGroup) {
  const key = keyOf(of);
  return db
    .selectFrom('log_positions')
    .select('next_offset')
    .where(({ and }) => and(key));
}

export function keyOf({ group, topicId, partition }: PartitionOfGroup) {
  return { consumer_group: group, topic_id: topicId, topic_partition: BigInt(partition) };
}
