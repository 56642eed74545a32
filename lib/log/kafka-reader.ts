import { type Consumer, findErrorBy, type RecordsBatch } from '@platformatic/kafka';
import { closeQuietly, type KafkaClients } from './kafka-clients.ts';
import { type LogRecord, LogUnavailableError } from './log.ts';

export interface KafkaPartition {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly leader: number;
}

export interface ReadRequest {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly position: bigint;
  /** Of the leader that took the record before the position; by it a broker sees whether it has the same one. */
  readonly epoch: number;
}

export interface ReadResult extends ReadRequest {
  readonly records: readonly LogRecord[];
  /** Of what was read, by where it ends. */
  readonly epochs: readonly { readonly end: bigint; readonly epoch: number }[];
  /** Where what was read before parts from what is there now: the leader has other records from here on, or none. */
  readonly parting: { readonly offset: bigint; readonly epoch: number } | undefined;
  /** Behind all that was read, also behind what is no record of anybody. */
  readonly nextPosition: bigint;
}

/** A position is before what is kept, or behind the end. */
export class OutOfRangeError extends Error {
  override readonly name = 'OutOfRangeError';
}

type FetchedPartition = Awaited<ReturnType<Consumer['fetch']>>['responses'][number]['partitions'][number];

const EARLIEST = -2n;
const LATEST = -1n;
const CONTROL_BATCH = 1 << 5;
const NO_PARTING = { endOffset: -1n, epoch: -1 };
export const UNKNOWN_EPOCH = -1;

/**
 * Reads partitions, on connections of its own, as a broker answers nothing else on a connection while it waits for records.
 * Not by the library's stream, which holds as many messages as it likes.
 */
export class KafkaReader {
  readonly #client: Consumer;
  readonly #topics: readonly string[];

  constructor(clients: KafkaClients, topics: readonly string[]) {
    this.#client = clients.reader(topics);
    this.#topics = topics;
  }

  async partitions(): Promise<KafkaPartition[]> {
    const metadata = await this.#client.metadata({ topics: [...this.#topics] });
    return [...metadata.topics].flatMap(([topic, { id, partitions }]) =>
      partitions.map(({ leader }, partition) => ({ topic, topicId: id, partition, leader })),
    );
  }

  /** By topic and partition. */
  async ends(): Promise<{ earliest: Map<string, bigint[]>; latest: Map<string, bigint[]> }> {
    const topics = [...this.#topics];
    const [earliest, latest] = await Promise.all([
      this.#client.listOffsets({ topics, timestamp: EARLIEST }),
      this.#client.listOffsets({ topics, timestamp: LATEST }),
    ]);
    return { earliest, latest };
  }

  /** Reads from partitions that one broker leads. @throws OutOfRangeError */
  async read(
    leader: number,
    requests: readonly ReadRequest[],
    maxBytes: number,
    waitMs: number,
  ): Promise<ReadResult[]> {
    const topics = requests.map(({ topicId, partition, position, epoch }) => ({
      topicId,
      partitions: [
        {
          partition,
          fetchOffset: position,
          partitionMaxBytes: maxBytes,
          currentLeaderEpoch: UNKNOWN_EPOCH,
          lastFetchedEpoch: epoch,
        },
      ],
    }));
    try {
      const options = { node: leader, topics, minBytes: 1, maxBytes, maxWaitTime: Math.max(Math.floor(waitMs), 0) };
      const { responses } = await this.#client.fetch(options);
      // The library leaves the epochs out when it asks again, as where the leader has changed: just then they matter.
      if (topics.some(({ partitions: [asked] }, n) => asked?.lastFetchedEpoch !== requests[n]?.epoch)) {
        throw new LogUnavailableError('Kafka: a leader has changed');
      }
      return responses.flatMap(({ topicId, partitions }) =>
        partitions.flatMap((found) => {
          const request = requests.find((each) => each.topicId === topicId && each.partition === found.partitionIndex);
          return request === undefined ? [] : [resultOf(request, found)];
        }),
      );
    } catch (error) {
      if (error instanceof Error && findErrorBy(error, 'apiId', 'OFFSET_OUT_OF_RANGE') !== null) {
        throw new OutOfRangeError('the position is not there any more', { cause: error });
      }
      throw error;
    }
  }

  close(): Promise<void> {
    return closeQuietly(this.#client);
  }
}

function resultOf(request: ReadRequest, { records: batches, divergingEpoch }: FetchedPartition): ReadResult {
  const records: LogRecord[] = [];
  const epochs: ReadResult['epochs'][number][] = [];
  let nextPosition = request.position;
  for (const batch of batches ?? []) {
    if ((batch.attributes & CONTROL_BATCH) === 0) addRecords(records, batch, request.position);
    // A batch counts whole, also where compaction has taken its last records.
    const end = batch.firstOffset + BigInt(batch.lastOffsetDelta) + 1n;
    if (end > nextPosition) nextPosition = end;
    epochs.push({ end, epoch: batch.partitionLeaderEpoch });
  }
  const { endOffset: offset, epoch } = divergingEpoch ?? NO_PARTING;
  return { ...request, records, epochs, nextPosition, parting: offset < 0n ? undefined : { offset, epoch } };
}

/** A batch is sent whole: what is before the position was asked for by nobody. */
function addRecords(records: LogRecord[], batch: RecordsBatch, position: bigint): void {
  for (const { offsetDelta, timestampDelta, key, value } of batch.records) {
    const offset = batch.firstOffset + BigInt(offsetDelta);
    if (offset < position) continue;
    const timestampMs = Number(batch.firstTimestamp + timestampDelta);
    records.push({ offset, timestampMs, key: key ?? new Uint8Array(), value: value ?? new Uint8Array() });
  }
}

/** Of the leader that took what ends at or behind a position. */
export function epochBefore({ epochs }: ReadResult, position: bigint): number {
  return epochs.find(({ end }) => end >= position)?.epoch ?? UNKNOWN_EPOCH;
}

/** Of what is together by one leader with the record: its epoch, and where it ends. */
export function runOf({ epochs }: ReadResult, record: LogRecord): { readonly epoch: number; readonly end: bigint } {
  const first = epochs.findIndex(({ end }) => end > record.offset);
  const own = epochs[first];
  if (own === undefined) return { epoch: UNKNOWN_EPOCH, end: record.offset + 1n };
  const next = epochs.findIndex(({ epoch }, n) => n > first && epoch !== own.epoch);
  return { epoch: own.epoch, end: epochs.at(next === -1 ? -1 : next - 1)?.end ?? own.end };
}
