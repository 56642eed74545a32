import { setTimeout as delay } from 'node:timers/promises';
import type { Consumer } from '@platformatic/kafka';
import { closeQuietly, type KafkaClients } from './kafka-clients.ts';

export interface Position {
  readonly topic: string;
  readonly partition: number;
  /** The first offset that was not handled. */
  readonly offset: bigint;
}

const LEAVE_DEADLINE_MS = 3_000;
const NO_COMMIT = -1n;
const UNKNOWN_EPOCH = -1;

/**
 * A place in a group, for as long as it goes: heartbeats, and joining again whenever the group changes, are the library's.
 * Where that ends, it says so by {@link failure}, and a new one is needed.
 */
export class KafkaMembership {
  readonly #client: Consumer;
  /** How often it was told its partitions. */
  generation = 0;
  failure: Error | undefined;

  constructor(clients: KafkaClients, group: string, topics: readonly string[], onChange: () => void) {
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
  async positions(): Promise<{ topic: string; partition: number; offset: bigint | undefined }[]> {
    const assignments = this.#client.assignments ?? [];
    if (assignments.length === 0) return [];
    const committed = await this.#client.listCommittedOffsets({ topics: assignments });
    return assignments.flatMap(({ topic, partitions }) =>
      partitions.map((partition) => {
        const offset = committed.get(topic)?.[partition] ?? NO_COMMIT;
        return { topic, partition, offset: offset < 0n ? undefined : offset };
      }),
    );
  }

  async commit(positions: readonly Position[]): Promise<void> {
    await this.#client.commit({ offsets: positions.map((each) => ({ ...each, leaderEpoch: UNKNOWN_EPOCH })) });
  }

  /** Says so to the group, where it can be reached, so that nobody has to wait until it is missed. */
  async leave(): Promise<void> {
    await Promise.race([closeQuietly(this.#client), delay(LEAVE_DEADLINE_MS, undefined, { ref: false })]);
  }
}
