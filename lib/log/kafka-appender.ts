import { findErrorBy, type Producer } from '@platformatic/kafka';
import { closeQuietly, type KafkaClients, unavailable } from './kafka-clients.ts';
import { type KafkaTopics, MAX_PIECE_BYTES } from './kafka-topics.ts';
import { type NewRecord, RecordRefusedError } from './log.ts';
import { within } from './within.ts';

/** What Kafka puts around a record, at most: numbers of variable length. */
const RECORD_OVERHEAD_BYTES = 64;

/**
 * Appends groups of records, one after the other, each acknowledged by all replicas in sync.
 *
 * A request whose answer was lost is sent again by the library with the same producer id and sequence numbers, also on a new
 * connection and to a new leader, so that brokers keep one copy and the order. That holds within one send. After one that
 * failed the library begins with a new producer id, and so do we, with a new client: what a caller then appends again may be
 * there twice, as log.ts says.
 *
 * A send has no deadline in the library, and its clients share one question between all who ask it: one that is never
 * answered would be waited for for ever. So a producer that misses the deadline is thrown away.
 */
export class KafkaAppender {
  readonly #clients: KafkaClients;
  readonly #topics: KafkaTopics;
  #producer: Producer | undefined;

  constructor(clients: KafkaClients, topics: KafkaTopics) {
    this.#clients = clients;
    this.#topics = topics;
  }

  /** @throws LogUnavailableError @throws RecordRefusedError */
  async append(records: readonly NewRecord[], timeoutMs: number): Promise<void> {
    this.#producer ??= this.#clients.producer();
    const producer = this.#producer;
    let isLate = false;
    try {
      await within(
        timeoutMs,
        this.#send(producer, records, () => isLate),
      );
    } catch (error) {
      isLate = true;
      this.#producer = undefined;
      void closeQuietly(producer);
      this.#topics.forget();
      throw refusal(error) ?? unavailable(error);
    }
  }

  async close(): Promise<void> {
    if (this.#producer !== undefined) await closeQuietly(this.#producer);
  }

  async #send(producer: Producer, records: readonly NewRecord[], isLate: () => boolean): Promise<void> {
    await this.#topics.ensure(new Set(records.map(({ topic }) => topic)));
    for (const piece of pieces(records)) {
      if (isLate()) return;
      await producer.send({
        messages: piece.map(({ topic, key, value }) => ({ topic, key: bufferOf(key), value: bufferOf(value) })),
      });
    }
  }
}

/** Where a topic that others made has a limit of its own, as `max.message.bytes`. */
const REFUSALS = ['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE', 'INVALID_RECORD'] as const;

function refusal(error: unknown): RecordRefusedError | undefined {
  if (!(error instanceof Error)) return undefined;
  const reason = REFUSALS.find((name) => findErrorBy(error, 'apiId', name) !== null);
  return reason && new RecordRefusedError(`Kafka: ${reason}`, { cause: error });
}

/** The library sends all records of a partition in one batch, whatever its size. */
function* pieces(records: readonly NewRecord[]): Generator<readonly NewRecord[]> {
  let start = 0;
  let bytes = 0;
  for (const [index, { key, value }] of records.entries()) {
    const size = key.byteLength + value.byteLength + RECORD_OVERHEAD_BYTES;
    if (index > start && bytes + size > MAX_PIECE_BYTES) {
      yield records.slice(start, index);
      start = index;
      bytes = 0;
    }
    bytes += size;
  }
  yield start === 0 ? records : records.slice(start);
}

/** Of other arrays the library takes partition 0. */
function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
