/**
 * The log between those who take events and those who store them. Two implementations, SQLite in one folder of one machine
 * and Kafka, give the same guarantees and run the same suite:
 *
 * 1. *Durable.* What {@link Log.append} resolved for is there after any process is killed. What it rejected may be there.
 * 2. *Order.* Records of one key go to one partition, in the order of their appends, with rising offsets.
 * 3. *At least once.* Each group gets every record of its topics, in the order of its partition, until its handler has
 *    resolved for it: a record can come again, after a kill or where a partition moves to another process. A consumer makes
 *    that once in effect by keeping (topicId, partition, offset) in the transaction of its effect.
 * 4. *One reader.* Within a group a partition is handled by one process at a time, one batch at a time. For a moment, while
 *    it moves, by two.
 * 5. *Bounded.* Appends that wait are bounded by bytes: over {@link AppendLimits.maxWaitingBytes} an append is refused at
 *    once with LogFullError, and nothing waits longer than a deadline. A consumer holds one batch.
 * 6. *A lost end* (an unclean election or a power loss on Kafka; never on SQLite). A group goes on where the records end that
 *    are left, and is told: {@link ConsumeOptions.onEndLost}. It is seen by the epoch of the last record that was handled, which
 *    the group keeps with its position; where it can lose that, too, by {@link ConsumeOptions.keptPosition}.
 * 7. *Retention.* Records older than the log's retention go, whether they were handled or not: a group that loses some so
 *    is told. Appends and reads go on meanwhile.
 */
export interface Log {
  readonly kind: 'sqlite' | 'kafka';

  /**
   * Appends records, all of them or, where it rejects, maybe some: then append them again. Appends that are under way at
   * once share transactions and round trips.
   * @throws LogFullError nothing was appended, and too much is waiting: say so to whoever sends.
   * @throws LogUnavailableError
   * @throws RecordRefusedError, RangeError one of them will never be taken, as it is; some may have been appended.
   */
  append(records: readonly NewRecord[]): Promise<void>;

  /** Begins to hand the records of topics to a group's handler, for ever, until it is closed. */
  consume(options: ConsumeOptions): LogConsumer;

  /**
   * Reads a topic from its beginning to its end as it is now, for nobody's group: for audits and repairs.
   * @throws LogUnavailableError
   */
  readAll(topic: string): AsyncIterable<LogBatch>;

  /** How many records of the topics a group has not handled. @throws LogUnavailableError */
  lag(group: string, topics: readonly string[]): Promise<bigint>;

  /** Resolves if the log answers within `timeoutMs`. @throws LogUnavailableError */
  ping(timeoutMs: number): Promise<void>;

  /** Appends what waits, as far as that goes, and ends. Idempotent; never throws. */
  close(): Promise<void>;
}

export interface NewRecord {
  readonly topic: string;
  /** Decides the partition. */
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export interface LogRecord {
  readonly offset: bigint;
  readonly timestampMs: number;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** Records of one partition, by rising offset; at least one. */
export interface LogBatch {
  readonly topic: string;
  /** Changes when a topic is made anew, and offsets begin again. */
  readonly topicId: string;
  readonly partition: number;
  /** Of the leader that took them, rising from one to the next. Undefined: the log has none, or never loses its end. */
  readonly epoch?: number | undefined;
  readonly records: readonly LogRecord[];
}

export interface ConsumeOptions {
  readonly group: string;
  readonly topics: readonly string[];
  readonly maxBatchRecords: number;
  readonly maxBatchBytes: number;
  /**
   * When it resolves the batch is done for this group. When it rejects the batch comes again, after a pause that grows up
   * to {@link MAX_RETRY_PAUSE_MS}: what would fail for ever it must put aside itself.
   */
  readonly handle: (batch: LogBatch) => Promise<void>;
  /**
   * Called where a partition has lost its end, before anything of it is handed over that has an offset of what is gone:
   * whoever keeps positions takes theirs back to `offset`. The group goes on there; or, where it can't be told from a topic
   * that was made anew, and this answers that nothing of it was handled, or isn't there, at the beginning. When it rejects it
   * is called again.
   * @returns whether anything of the topic was handled.
   */
  readonly onEndLost?: ((lost: LostEnd) => Promise<boolean>) | undefined;
  /**
   * Asked before anything of a partition is handed over, by a log that can lose its end: how far it was handled, as whoever keeps
   * positions has it. Where that is more than the group knows, the group goes on there; and by the epoch it is seen whether the
   * log still has it. When it rejects it is asked again.
   */
  readonly keptPosition?:
    | ((of: Pick<LogBatch, 'topic' | 'topicId' | 'partition'>) => Promise<KeptPosition | undefined>)
    | undefined;
  /**
   * Hears of each failed batch and each failed read; by a {@link RecordsLostError}, of what retention took before the group
   * had handled it; and by an {@link EndLostError}.
   */
  readonly onError: (error: unknown) => void;
}

/** The offset after the last record that was handled, and of which leader that was. */
export interface KeptPosition {
  readonly offset: bigint;
  readonly epoch?: number | undefined;
}

/** The log has fewer records of a partition than a group has handled: their offsets will be given to others. */
export interface LostEnd extends Omit<LogBatch, 'records'> {
  /** Of the leader that took the last that the group had handled, where it is known. */
  readonly epoch?: number | undefined;
  /** What is there ends here. */
  readonly offset: bigint;
  /** The group had handled what was before this. */
  readonly handledUntil: bigint;
}

export interface LogConsumer {
  /** Finishes the batches at hand, keeps their positions, and ends. Idempotent; never throws. */
  close(): Promise<void>;
}

export interface AppendLimits {
  /** Of keys and values that are not appended yet. */
  readonly maxWaitingBytes: number;
}

/** Of a record's key and value together: a larger one is a RangeError. A chunk of an attachment fits with its envelope. */
export const MAX_RECORD_BYTES = 2 * 1024 * 1024;

export const DEFAULT_APPEND_LIMITS: AppendLimits = { maxWaitingBytes: 64 * 1024 * 1024 };

/** From an append to its answer. */
export const APPEND_DEADLINE_MS = 10_000;
export const MAX_RETRY_PAUSE_MS = 5_000;
export const DEFAULT_RETENTION_MS = 7 * 86_400_000;

/** More is waiting to be appended than may be. Nothing was appended. */
export class LogFullError extends Error {
  override readonly name = 'LogFullError';
  /** When to try again, in ms. */
  readonly retryAfterMs = 1000;
}

/** Records that were gone before a group had handled them. It goes on behind them. */
export class RecordsLostError extends Error {
  override readonly name = 'RecordsLostError';
  readonly topic: string;
  readonly partition: number;
  readonly records: bigint;

  constructor({ topic, partition }: Pick<LogBatch, 'topic' | 'partition'>, records: bigint) {
    super(
      `${records} records of ${topic}, partition ${partition}, were too old before they were handled, and are gone`,
    );
    this.topic = topic;
    this.partition = partition;
    this.records = records;
  }
}

/** A partition has lost its last records, of which a group had handled some. What followed these is gone, too. */
export class EndLostError extends Error {
  override readonly name = 'EndLostError';
  readonly lost: LostEnd;

  constructor(lost: LostEnd) {
    const { topic, partition, offset, handledUntil } = lost;
    super(`${topic}, partition ${partition}, was handled up to ${handledUntil}, and ends at ${offset} now`);
    this.lost = lost;
  }
}

/** The log answers that it does not take a record, and would answer so again. */
export class RecordRefusedError extends Error {
  override readonly name = 'RecordRefusedError';
}

/** The log can't be reached, or did not answer in time. Retryable. */
export class LogUnavailableError extends Error {
  override readonly name = 'LogUnavailableError';
  readonly retryAfterMs = 1000;
}
