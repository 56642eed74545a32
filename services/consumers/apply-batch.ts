import type { Effect, EventStore, NewEvent } from '#lib/event-store/event-store.ts';
import { encodeDeadLetter } from '#lib/ingest/dead-letter.ts';
import { deadLetterTopic } from '#lib/ingest/topics.ts';
import { type Log, type LogBatch, type LogRecord, MAX_RECORD_BYTES, type NewRecord } from '#lib/log/log.ts';
import { StoreUnavailableError } from '#lib/sql/database-errors.ts';
import { type RecordReader, UnreadableError } from './effects.ts';
import type { Reports } from './reports.ts';

export interface ApplyBatchOptions {
  readonly log: Pick<Log, 'append'>;
  readonly store: Pick<EventStore, 'apply'>;
  readonly group: string;
  readonly reader: RecordReader;
  /** Hears of events that are stored now. Must not throw. */
  readonly onNew: (events: readonly NewEvent[]) => void;
  readonly reports: Reports;
}

/** What one batch holds, and so what can be put aside before the store takes anything. */
const MAX_REMEMBERED = 10_000;
/** Twice in a dead letter, which must fit: of a longer key, which is none of ours, its beginning. */
const MAX_KEY_BYTES = 64 * 1024;
/** So often the store has to fail on one record, with the log's pauses between, before the record is at fault. */
const MAX_FAILURES = 3;

/**
 * Applies batches of the log to the store. A record that would fail for ever is put aside: it goes to its topic's dead
 * letters before the position moves beyond it, so that it is there after any kill (twice, at worst), and it is counted.
 */
export class ApplyBatch {
  readonly #options: ApplyBatchOptions;
  /** What is in the dead letters already, of batches that come again because the store is away. */
  readonly #putAside = new Set<string>();
  /** How often the store has failed on records that are still to be applied, by their positions. */
  readonly #failures = new Map<string, number>();

  constructor(options: ApplyBatchOptions) {
    this.#options = options;
  }

  /** @throws whatever passes: the batch is to be applied again. */
  async apply(batch: LogBatch): Promise<void> {
    const effects: Effect[] = [];
    const unreadable: Unreadable[] = [];
    for (const record of batch.records) {
      const read = this.#read(record);
      if ('reason' in read) unreadable.push(read);
      effects.push(...('reason' in read ? this.#options.reader.putAside(record) : [read.effect]));
    }
    await this.#toDeadLetters(batch, unreadable);
    try {
      await this.#save(batch, effects);
    } catch (error) {
      if (error instanceof StoreUnavailableError) throw error;
      await this.#oneByOne(batch, new Set(unreadable.map(({ record }) => record.offset)));
    }
    for (const record of batch.records) this.#forget(positionOf(batch, record));
  }

  #forget(position: string): void {
    this.#putAside.delete(position);
    this.#failures.delete(position);
  }

  #read(record: LogRecord): { readonly effect: Effect } | Unreadable {
    try {
      return { effect: this.#options.reader.effectOf(record) };
    } catch (error) {
      // Reading asks nobody: what it fails on, it would fail on for ever.
      return { record, reason: error instanceof UnreadableError ? error.message : `unreadable: ${nameOf(error)}` };
    }
  }

  /**
   * Something in the batch is what the store can't take, and it would hold up everything behind it for ever: it is found
   * and, where it comes again with the same result, put aside. Where the store takes nothing at all, it does not take the
   * count of that either, and nothing moves.
   */
  async #oneByOne(batch: LogBatch, unreadable: ReadonlySet<bigint>): Promise<void> {
    const { reader } = this.#options;
    for (const record of batch.records) {
      try {
        const effects = unreadable.has(record.offset) ? reader.putAside(record) : [reader.effectOf(record)];
        await this.#save(batch, effects);
      } catch (error) {
        if (error instanceof StoreUnavailableError || !this.#isAtFault(positionOf(batch, record))) throw error;
        await this.#toDeadLetters(batch, [{ record, reason: `the store did not take it: ${nameOf(error)}` }]);
        await this.#save(batch, reader.putAside(record));
      }
    }
  }

  #isAtFault(position: string): boolean {
    const failures = (this.#failures.get(position) ?? 0) + 1;
    // One a partition, and those of partitions that have moved elsewhere.
    if (this.#failures.size > MAX_REMEMBERED) this.#failures.clear();
    this.#failures.set(position, failures);
    return failures >= MAX_FAILURES;
  }

  async #toDeadLetters(batch: LogBatch, unreadable: readonly Unreadable[]): Promise<void> {
    const { topic, topicId, partition } = batch;
    const fresh = unreadable.filter(({ record }) => !this.#putAside.has(positionOf(batch, record)));
    if (fresh.length === 0) return;
    const letters = fresh.map(({ record, reason }): NewRecord => {
      const key = record.key.subarray(0, MAX_KEY_BYTES);
      const letter = { ...record, key, topic, topicId, partition, reason };
      return { topic: deadLetterTopic(topic), key, value: encodeDeadLetter(letter, MAX_RECORD_BYTES) };
    });
    await this.#options.log.append(letters);
    if (this.#putAside.size > MAX_REMEMBERED) this.#putAside.clear();
    for (const { record } of fresh) this.#putAside.add(positionOf(batch, record));
    const [first] = fresh;
    this.#options.reports({
      level: 'warn',
      message: 'records were put aside as dead letters',
      fields: { topic, partition, records: fresh.length, reason: first?.reason ?? '' },
    });
  }

  async #save({ topicId, partition, epoch }: LogBatch, effects: readonly Effect[]): Promise<void> {
    const { store, group, onNew } = this.#options;
    const fresh = await store.apply({ group, topicId, partition, epoch, effects });
    if (fresh.length > 0) onNew(fresh);
  }
}

interface Unreadable {
  readonly record: LogRecord;
  readonly reason: string;
}

function positionOf({ topicId, partition }: LogBatch, { offset }: LogRecord): string {
  return `${topicId}/${partition}/${offset}`;
}

/** Without its words, which may quote what it failed on. */
function nameOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  return 'code' in error ? `${error.name} ${String(error.code)}` : error.name;
}
