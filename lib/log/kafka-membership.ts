import { setTimeout as delay } from 'node:timers/promises';
import type { Consumer } from '@platformatic/kafka';
import { closeQuietly, type KafkaClients } from './kafka-clients.ts';
import { UNKNOWN_EPOCH } from './kafka-reader.ts';
import type { KeptPosition } from './log.ts';

export interface Position {
  readonly topic: string;
  readonly partition: number;
  /** The first offset that was not handled. */
  readonly offset: bigint;
  /** Of the leader that took the record before. */
  readonly epoch: number;
}

const LEAVE_DEADLINE_MS = 3_000;

/**
 * A place in a group, for as long as it goes: heartbeats, and joining again whenever the group changes, are the library's.
 * Where that ends, it says so by {@link failure}, and a new one is needed.
 */
export class KafkaMembership {
  readonly #clients: KafkaClients;
  readonly #group: string;
  readonly #client: Consumer;
  /** How often it was told its partitions. */
  generation = 0;
  failure: Error | undefined;

  constructor(clients: KafkaClients, group: string, topics: readonly string[], onChange: () => void) {
    this.#clients = clients;
    this.#group = group;
    this.#client = clients.member(group);
    this.#client.topics.trackAll(...topics);
    this.#client.on('consumer:group:join', () => {
      this.generation++;
      onChange();
    });
    const fail = (error: Error) => {
      this.failure ??= error;
      onChange();
    };
    // Joining again has failed: no more heartbeats will be sent.
    (this.#client as { on(event: 'error', listener: (error: Error) => void): unknown }).on('error', fail);
    this.#client.on('consumer:heartbeat:stalled', ({ lastError }) => {
      fail(new Error('the group was not reached for long', { cause: lastError }));
    });
  }

  async join(): Promise<void> {
    await this.#client.joinGroup({});
  }

  isAssigned(topic: string, partition: number): boolean {
    return (
      this.#client.assignments?.some((each) => each.topic === topic && each.partitions.includes(partition)) ?? false
    );
  }

  /** Of its partitions. Undefined where the group has none yet. */
  async positions(): Promise<{ topic: string; partition: number; committed: KeptPosition | undefined }[]> {
    const assignments = this.#client.assignments ?? [];
    if (assignments.length === 0) return [];
    const topics = assignments.map(({ topic: name, partitions }) => ({ name, partitionIndexes: [...partitions] }));
    // The library's consumer answers offsets alone, without their leaders' epochs.
    const admin = this.#clients.admin();
    try {
      const groups = await admin.listConsumerGroupOffsets({ groups: [{ groupId: this.#group, topics }] });
      return groups.flatMap((group) =>
        group.topics.flatMap(({ name: topic, partitions }) =>
          partitions.map(({ partitionIndex: partition, committedOffset: offset, committedLeaderEpoch: epoch }) => {
            const committed = { offset, epoch: epoch === UNKNOWN_EPOCH ? undefined : epoch };
            return { topic, partition, committed: offset < 0n ? undefined : committed };
          }),
        ),
      );
    } finally {
      void closeQuietly(admin);
    }
  }

  async commit(positions: readonly Position[]): Promise<void> {
    await this.#client.commit({ offsets: positions.map(({ epoch, ...each }) => ({ ...each, leaderEpoch: epoch })) });
  }

  /** Says so to the group, where it can be reached, so that nobody has to wait until it is missed. */
  async leave(): Promise<void> {
    await Promise.race([closeQuietly(this.#client), delay(LEAVE_DEADLINE_MS, undefined, { ref: false })]);
  }
}
