import { randomUUID } from 'node:crypto';
import { until } from '../../test/support/until.ts';
import type { AppendLimits, ConsumeOptions, Log, LogBatch, LogConsumer, LogRecord, NewRecord } from './log.ts';
import { type OpenLogOptions, openLog } from './open-log.ts';

/** What the suite needs of an implementation: a place to itself. */
export interface LogSpace extends AsyncDisposable {
  /** What opens it, also in another process. */
  readonly options: OpenLogOptions;
  /** Makes appends impossible, until the answer is called: a locked file, a server that was killed. */
  breakAppends(): Promise<() => Promise<void>>;
}

/** How a test opens it. */
export interface TestLogOptions {
  readonly limits?: AppendLimits;
  readonly appendDeadlineMs?: number;
  readonly retentionMs?: number;
}

export async function openIn(space: LogSpace, options: TestLogOptions = {}): Promise<Log & AsyncDisposable> {
  const log = await openLog({ ...space.options, ...options });
  return Object.assign(log, { [Symbol.asyncDispose]: () => log.close() });
}

export function newTopic(): string {
  return `topic-${randomUUID().slice(0, 13)}`;
}

export function newGroup(): string {
  return `group-${randomUUID().slice(0, 13)}`;
}

export function textRecord(topic: string, key: string, value: string): NewRecord {
  return { topic, key: Buffer.from(key), value: Buffer.from(value) };
}

export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}

/** The values of a topic, by key, in the order of its offsets. */
export async function valuesByKey(log: Log, topic: string): Promise<Map<string, string[]>> {
  const values = new Map<string, string[]>();
  for await (const batch of log.readAll(topic)) {
    for (const record of batch.records) {
      const key = textOf(record.key);
      values.set(key, [...(values.get(key) ?? []), textOf(record.value)]);
    }
  }
  return values;
}

/** A consumer that keeps what it was handed, and can be told to fail. */
export class Collector implements AsyncDisposable {
  readonly batches: LogBatch[] = [];
  readonly errors: unknown[] = [];
  /** Called before a batch counts as handled. */
  before: (batch: LogBatch) => void | Promise<void> = () => undefined;
  readonly #consumer: LogConsumer;

  constructor(log: Log, topics: readonly string[], options: Partial<ConsumeOptions> = {}) {
    this.#consumer = log.consume({
      group: newGroup(),
      topics,
      maxBatchRecords: 100,
      maxBatchBytes: 1024 * 1024,
      handle: async (batch) => {
        await this.before(batch);
        this.batches.push(batch);
      },
      onError: (error) => void this.errors.push(error),
      ...options,
    });
  }

  get records(): LogRecord[] {
    return this.batches.flatMap(({ records }) => records);
  }

  get values(): string[] {
    return this.records.map(({ value }) => textOf(value));
  }

  /** Waits until it has handled so many records. */
  async has(count: number, timeoutMs = 30_000): Promise<void> {
    try {
      await until(`${count} records are handled`, () => this.records.length >= count, timeoutMs);
    } catch (cause) {
      throw new Error(`${this.records.length} of ${count} records were handled`, {
        cause: this.errors.at(-1) ?? cause,
      });
    }
  }

  close(): Promise<void> {
    return this.#consumer.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
