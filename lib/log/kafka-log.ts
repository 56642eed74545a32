import { KafkaAppender } from './kafka-appender.ts';
import { closeQuietly, KafkaClients, unavailable } from './kafka-clients.ts';
import { KafkaConsumer } from './kafka-consumer.ts';
import { KafkaReader, OutOfRangeError, UNKNOWN_EPOCH } from './kafka-reader.ts';
import { DEFAULT_KAFKA_PARTITIONS, DEFAULT_KAFKA_REPLICAS, type KafkaSettings } from './kafka-settings.ts';
import { type KafkaTopicSettings, KafkaTopics } from './kafka-topics.ts';
import {
  type ConsumeOptions,
  DEFAULT_RETENTION_MS,
  type Log,
  type LogBatch,
  type LogConsumer,
  LogUnavailableError,
  type NewRecord,
} from './log.ts';
import { type LogStorage, QueuedLog, type QueuedLogOptions } from './queued-log.ts';
import { within } from './within.ts';

export interface KafkaLogOptions extends Partial<KafkaTopicSettings>, QueuedLogOptions {
  readonly kafka: KafkaSettings;
}

const READ_BYTES = 1024 * 1024;
const READ_WAIT_MS = 500;
const QUESTION_DEADLINE_MS = 15_000;
/** Of reads in a row that brought nothing where there must be something. */
const MAX_EMPTY_READS = 20;

/**
 * The log on a Kafka cluster. An append is acknowledged by all replicas that are in sync: how many that are at least is the
 * topics' `min.insync.replicas`, an operator's choice, as is when they sync to their disks. Kafka isn't asked for before it is
 * used, and may come and go.
 */
export function openKafkaLog(options: KafkaLogOptions): Log {
  return new QueuedLog(new KafkaStorage(options), options);
}

class KafkaStorage implements LogStorage {
  readonly kind = 'kafka';
  readonly #clients: KafkaClients;
  readonly #topics: KafkaTopics;
  readonly #appender: KafkaAppender;

  constructor({ kafka, partitions, replicas, retentionMs }: KafkaLogOptions) {
    this.#clients = new KafkaClients(kafka);
    this.#topics = new KafkaTopics(this.#clients, {
      partitions: partitions ?? DEFAULT_KAFKA_PARTITIONS,
      replicas: replicas ?? DEFAULT_KAFKA_REPLICAS,
      retentionMs: retentionMs ?? DEFAULT_RETENTION_MS,
    });
    this.#appender = new KafkaAppender(this.#clients, this.#topics);
  }

  write(records: readonly NewRecord[], timeoutMs: number): Promise<void> {
    return this.#appender.append(records, timeoutMs);
  }

  consume(options: ConsumeOptions, onClosed: () => void): LogConsumer {
    return new KafkaConsumer(this.#clients, this.#topics, options, onClosed);
  }

  async *readAll(topic: string): AsyncGenerator<LogBatch> {
    const [existing] = await this.#topics.existing([topic]);
    if (existing === undefined) return;
    const reader = new KafkaReader(this.#clients, [topic]);
    try {
      const { earliest, latest } = await answered(reader.ends());
      for (const { partition } of await answered(reader.partitions())) {
        const begin = earliest.get(topic)?.[partition] ?? 0n;
        yield* this.#readPartition(reader, topic, partition, begin, latest.get(topic)?.[partition] ?? begin);
      }
    } finally {
      await reader.close();
    }
  }

  async lag(group: string, topics: readonly string[]): Promise<bigint> {
    const existing = await this.#topics.existing(topics);
    if (existing.length === 0) return 0n;
    const reader = new KafkaReader(this.#clients, existing);
    const member = this.#clients.member(group);
    try {
      const { earliest, latest } = await answered(reader.ends());
      const partitions = [...latest].map(([topic, ends]) => ({ topic, partitions: [...ends.keys()] }));
      const committed = await answered(member.listCommittedOffsets({ topics: partitions }));
      let lag = 0n;
      for (const [topic, ends] of latest) {
        for (const [partition, end] of ends.entries()) {
          const begin = earliest.get(topic)?.[partition] ?? 0n;
          const position = committed.get(topic)?.[partition] ?? 0n;
          const from = position > begin ? position : begin;
          // Of a partition that has lost its end the group has had more than there is.
          if (end > from) lag += end - from;
        }
      }
      return lag;
    } finally {
      await Promise.all([reader.close(), closeQuietly(member)]);
    }
  }

  ping(timeoutMs: number): Promise<void> {
    return this.#topics.ping(timeoutMs);
  }

  async close(): Promise<void> {
    await Promise.all([this.#appender.close(), this.#topics.close()]);
  }

  async *#readPartition(
    reader: KafkaReader,
    topic: string,
    partition: number,
    begin: bigint,
    end: bigint,
  ): AsyncGenerator<LogBatch> {
    let position = begin;
    for (let emptyReads = 0; position < end; ) {
      const place = (await answered(reader.partitions())).find((each) => each.partition === partition);
      if (place === undefined) throw new LogUnavailableError(`Kafka: ${topic} has lost a partition`);
      const { topicId, leader } = place;
      try {
        const request = { topic, topicId, partition, position, epoch: UNKNOWN_EPOCH };
        const [result] = await answered(reader.read(leader, [request], READ_BYTES, READ_WAIT_MS));
        const records = result?.records.filter(({ offset }) => offset < end) ?? [];
        emptyReads = result !== undefined && result.nextPosition > position ? 0 : emptyReads + 1;
        if (emptyReads > MAX_EMPTY_READS) throw new LogUnavailableError(`Kafka: ${topic} can't be read to its end`);
        position = result?.nextPosition ?? position;
        if (records.length > 0) yield { topic, topicId, partition, records };
      } catch (error) {
        if (!(error instanceof OutOfRangeError)) throw error;
        // Retention was faster.
        const { earliest } = await answered(reader.ends());
        position = earliest.get(topic)?.[partition] ?? end;
      }
    }
  }
}

async function answered<T>(question: Promise<T>): Promise<T> {
  try {
    return await within(QUESTION_DEADLINE_MS, question);
  } catch (error) {
    throw error instanceof OutOfRangeError ? error : unavailable(error);
  }
}
