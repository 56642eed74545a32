import type { Kysely, Transaction } from 'kysely';
import type { DatabaseKind } from '#lib/sql/database-kind.ts';
import type { EventDatabase } from './database.ts';
import type { EffectBatch, PartitionEnd, Position } from './event-store.ts';
import type { EventSchema, LogPositionTable } from './schema.ts';

export type PartitionOfGroup = Pick<EffectBatch, 'group' | 'topicId' | 'partition'>;

export async function readPosition(db: Kysely<EventSchema>, of: PartitionOfGroup): Promise<Position | undefined> {
  const found = await select(db, of).executeTakeFirst();
  return found && positionOf(found);
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
  const found = await lockedRow(tx, kind, of);
  if (found !== undefined) return found.next_offset;
  await tx
    .insertInto('log_positions')
    .values({ ...keyOf(of), next_offset: 0n, epoch: null, epoch_offset: null })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  return (await lockedRow(tx, kind, of))?.next_offset ?? 0n;
}

export async function movePosition(
  tx: Transaction<EventSchema>,
  of: Pick<EffectBatch, 'group' | 'topicId' | 'partition' | 'epoch'>,
  next: bigint,
): Promise<void> {
  const key = keyOf(of);
  const epoch = of.epoch === undefined ? null : BigInt(of.epoch);
  await tx
    .updateTable('log_positions')
    .set({ next_offset: next, epoch, epoch_offset: next })
    .where(({ and }) => and(key))
    .execute();
}

/** @returns whether there was one. */
export async function takePositionBack({ writer, kind }: EventDatabase, lost: PartitionEnd): Promise<boolean> {
  if (writer === undefined) throw new Error('the event store was opened to be read');
  return writer.transaction().execute(async (tx) => {
    const found = await lockedRow(tx, kind, lost);
    if (found === undefined) return false;
    const { offset, epoch } = positionOf(found);
    // Whoever has told it before has since gone on.
    const isPast = epoch === undefined || lost.epoch === undefined ? offset < lost.handledUntil : epoch > lost.epoch;
    if (!isPast && offset >= lost.offset) await movePosition(tx, { ...lost, epoch: undefined }, lost.offset);
    return true;
  });
}

function lockedRow(tx: Transaction<EventSchema>, kind: DatabaseKind, of: PartitionOfGroup) {
  // On SQLite the transaction began with the lock.
  return (kind === 'postgres' ? select(tx, of).forUpdate() : select(tx, of)).executeTakeFirst();
}

type PositionRow = Pick<LogPositionTable, 'next_offset' | 'epoch' | 'epoch_offset'>;

function positionOf({ next_offset: offset, epoch, epoch_offset }: PositionRow): Position {
  return { offset, epoch: epoch === null || epoch_offset !== offset ? undefined : Number(epoch) };
}

function select(db: Kysely<EventSchema>, of: PartitionOfGroup) {
  const key = keyOf(of);
  return db
    .selectFrom('log_positions')
    .select(['next_offset', 'epoch', 'epoch_offset'])
    .where(({ and }) => and(key));
}

export function keyOf({ group, topicId, partition }: PartitionOfGroup) {
  return { consumer_group: group, topic_id: topicId, topic_partition: BigInt(partition) };
}
