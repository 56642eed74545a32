import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from 'node:sqlite';
import type { BroadcastChannel } from 'node:worker_threads';
import { type LogRecord, LogUnavailableError } from './log.ts';
import { changesName, openChanges } from './sqlite-changes.ts';
import { openForReading, recordsTable } from './sqlite-log-file.ts';

/** Where a topic's records are. */
export interface SqlitePartition {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  /** Within the file. */
  readonly id: number;
  readonly nextOffset: number;
}

/** For what other processes write: this one's are heard of at once. An idle reader costs this look at a number. */
const POLL_MS = 100;

/** One connection for the readers of a thread. Each read is a short one: a long one would let the write-ahead log grow. */
export class SqliteReader {
  readonly #database: DatabaseSync;
  readonly #dataVersion: StatementSync;
  readonly #partitions: StatementSync;
  readonly #records = new Map<number, StatementSync>();
  readonly #listeners = new Set<{ readonly version: number; readonly onChange: () => void }>();
  readonly #changesName: string;
  /** Where somebody waits. */
  #changes: BroadcastChannel | undefined;
  #poll: NodeJS.Timeout | undefined;

  constructor(dataDir: string) {
    this.#database = openForReading(dataDir);
    this.#changesName = changesName(dataDir);
    this.#dataVersion = this.#database.prepare('pragma data_version');
    this.#partitions = this.#database.prepare(
      `select t.name as topic, t.id as topicId, p.partition, p.id, p.next_offset as nextOffset
       from topics t join partitions p on p.topic_id = t.id
       where t.name in (select value from json_each(?)) order by t.name, p.partition`,
    );
  }

  /** Changes whenever somebody has written to the file. */
  version(): number {
    return guarded(() => Number(this.#dataVersion.get()?.['data_version']));
  }

  /** Calls back once when the file has changed since it had this version, or can't be read. The answer stops that. */
  onceChanged(version: number, onChange: () => void): () => void {
    const listener = { version, onChange };
    this.#listeners.add(listener);
    if (this.#changes === undefined) {
      this.#changes = openChanges(this.#changesName);
      this.#changes.onmessage = () => this.#look();
    }
    // What was written since it had that version was heard of before, if at all.
    if (this.#versionNow() !== version) setImmediate(() => this.#look());
    else this.#poll ??= setTimeout(() => this.#look(), POLL_MS);
    return () => void this.#listeners.delete(listener);
  }

  partitions(topics: readonly string[]): SqlitePartition[] {
    return guarded(() => this.#partitions.all(JSON.stringify(topics)) as unknown as SqlitePartition[]);
  }

  /** At least one record from this offset on, if there is any. */
  read(partitionId: number, fromOffset: number, maxRecords: number, maxBytes: number): LogRecord[] {
    return guarded(() => {
      const records: LogRecord[] = [];
      let bytes = 0;
      for (const row of this.#recordsOf(partitionId).iterate(fromOffset, maxRecords)) {
        const record = recordOf(row as unknown as SQLOutputValue[]);
        bytes += record.key.byteLength + record.value.byteLength;
        if (records.length > 0 && bytes > maxBytes) break;
        records.push(record);
      }
      return records;
    });
  }

  /** How many records a partition has from this offset on. */
  countFrom({ id, nextOffset }: SqlitePartition, offset: number): number {
    const first = guarded(() =>
      this.#all(`select min("offset") as first from ${recordsTable(id)} where "offset" >= ?`, offset),
    );
    return first[0]?.['first'] == null ? 0 : nextOffset - Number(first[0]['first']);
  }

  close(): void {
    clearTimeout(this.#poll);
    this.#changes?.close();
    if (this.#database.isOpen) this.#database.close();
  }

  #all(sql: string, ...values: SQLInputValue[]) {
    return this.#database.prepare(sql).all(...values);
  }

  #recordsOf(partitionId: number): StatementSync {
    let statement = this.#records.get(partitionId);
    if (statement === undefined) {
      statement = this.#database.prepare(
        `select "offset", timestamp_ms, key, value from ${recordsTable(partitionId)}
         where "offset" >= ? order by "offset" limit ?`,
      );
      statement.setReturnArrays(true);
      this.#records.set(partitionId, statement);
    }
    return statement;
  }

  #look(): void {
    clearTimeout(this.#poll);
    this.#poll = undefined;
    const version = this.#versionNow();
    for (const listener of this.#listeners) {
      if (listener.version === version) continue;
      this.#listeners.delete(listener);
      listener.onChange();
    }
    if (this.#listeners.size > 0) this.#poll ??= setTimeout(() => this.#look(), POLL_MS);
  }

  /** Undefined where it can't be read: whoever waits finds out by reading. */
  #versionNow(): number | undefined {
    try {
      return this.version();
    } catch {
      return undefined;
    }
  }
}

function recordOf([offset, timestampMs, key, value]: SQLOutputValue[]): LogRecord {
  return {
    offset: BigInt(offset as number),
    timestampMs: Number(timestampMs),
    key: key as Uint8Array,
    value: value as Uint8Array,
  };
}

function guarded<T>(act: () => T): T {
  try {
    return act();
  } catch (cause) {
    throw new LogUnavailableError('SQLite: the log can not be read', { cause });
  }
}
