import { AppendQueue } from './append-queue.ts';
import {
  type AppendLimits,
  type ConsumeOptions,
  type Log,
  type LogBatch,
  type LogConsumer,
  LogUnavailableError,
  type NewRecord,
} from './log.ts';

/** What differs from log to log. */
export interface LogStorage {
  readonly kind: Log['kind'];
  /** As {@link AppendQueueOptions.write}: one at a time. */
  write(records: readonly NewRecord[], timeoutMs: number): Promise<void>;
  /** @param onClosed Called once it has ended. */
  consume(options: ConsumeOptions, onClosed: () => void): LogConsumer;
  readAll(topic: string): AsyncIterable<LogBatch>;
  lag(group: string, topics: readonly string[]): Promise<bigint>;
  ping(timeoutMs: number): Promise<void>;
  /** After the last write, and the last consumer's end. */
  close(): Promise<void>;
}

export interface QueuedLogOptions {
  readonly limits?: AppendLimits | undefined;
  readonly appendDeadlineMs?: number | undefined;
}

/** A log is its storage, behind a queue of appends, with consumers that end before it does. */
export class QueuedLog implements Log {
  readonly #storage: LogStorage;
  readonly #queue: AppendQueue;
  readonly #consumers = new Set<LogConsumer>();
  #closed: Promise<void> | undefined;

  constructor(storage: LogStorage, { limits, appendDeadlineMs }: QueuedLogOptions) {
    this.#storage = storage;
    this.#queue = new AppendQueue({
      limits,
      deadlineMs: appendDeadlineMs,
      write: (records, timeoutMs) => storage.write(records, timeoutMs),
    });
  }

  get kind(): Log['kind'] {
    return this.#storage.kind;
  }

  append(records: readonly NewRecord[]): Promise<void> {
    return this.#queue.append(records);
  }

  consume(options: ConsumeOptions): LogConsumer {
    if (this.#closed !== undefined) throw new Error('the log is closed');
    const consumer: LogConsumer = this.#storage.consume(options, () => this.#consumers.delete(consumer));
    this.#consumers.add(consumer);
    return consumer;
  }

  async *readAll(topic: string): AsyncGenerator<LogBatch> {
    this.#requireOpen();
    yield* this.#storage.readAll(topic);
  }

  async lag(group: string, topics: readonly string[]): Promise<bigint> {
    this.#requireOpen();
    return this.#storage.lag(group, topics);
  }

  async ping(timeoutMs: number): Promise<void> {
    this.#requireOpen();
    return this.#storage.ping(timeoutMs);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /** Whoever is asked after the end would open again what nobody closes. */
  #requireOpen(): void {
    if (this.#closed !== undefined) throw new LogUnavailableError('the log is closed');
  }

  async #close(): Promise<void> {
    await Promise.all([this.#queue.close(), ...[...this.#consumers].map((consumer) => consumer.close())]);
    await this.#storage.close();
  }
}
