import { randomUUID } from 'node:crypto';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { type PackedRecords, unpack } from './packed-records.ts';
import { changesName, openChanges } from './sqlite-changes.ts';
import { createRecordsTable, openForWriting, partitionOf, recordsTable, SQLITE_PARTITIONS } from './sqlite-log-file.ts';
import { SqliteRetention } from './sqlite-retention.ts';

/** What runs on the thread of sqlite-writer.ts: one connection, and a transaction for each message. */
export interface WriterData {
  readonly dataDir: string;
  readonly retentionMs: number;
  readonly retentionCheckMs: number;
  readonly maxFileBytes: number | undefined;
}

export type WriterRequest =
  | { readonly kind: 'append'; readonly packed: PackedRecords; readonly timeoutMs: number }
  | { readonly kind: 'ping'; readonly timeoutMs: number }
  | { readonly kind: 'close' };

/** One for each request, in their order. */
export interface WriterAnswer {
  readonly failure: string | undefined;
}

interface Partition {
  readonly id: number;
  readonly insert: StatementSync;
  nextOffset: number;
  touched: boolean;
}

const MIN_LOCK_WAIT_MS = 1;

class WriterThread {
  readonly #database: DatabaseSync;
  readonly #readNext: StatementSync;
  readonly #writeNext: StatementSync;
  readonly #topics = new Map<string, readonly Partition[]>();

  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#readNext = database.prepare('select next_offset from partitions where id = ?');
    this.#writeNext = database.prepare('update partitions set next_offset = ? where id = ?');
  }

  /** All or nothing, whatever else writes to the file: the lock is had before an offset is read. */
  append(packed: PackedRecords, timeoutMs: number): void {
    this.#begin(timeoutMs);
    try {
      this.#insert(packed);
      this.#database.exec('commit');
    } catch (error) {
      // SQLite has rolled back by itself after some errors (disk full, I/O). Tables made in between are gone.
      if (this.#database.isTransaction) this.#database.exec('rollback');
      this.#topics.clear();
      throw error;
    }
  }

  /** Whether an append could begin. */
  ping(timeoutMs: number): void {
    this.#begin(timeoutMs);
    this.#database.exec('rollback');
  }

  #begin(timeoutMs: number): void {
    this.#database.exec(`pragma busy_timeout = ${Math.max(MIN_LOCK_WAIT_MS, Math.floor(timeoutMs))}`);
    this.#database.exec('begin immediate');
  }

  #insert(packed: PackedRecords): void {
    const touched: Partition[] = [];
    const nowMs = Date.now();
    for (const { topic, key, value } of unpack(packed)) {
      const partition = this.#partitionsOf(topic)[partitionOf(key)];
      if (partition === undefined) throw new Error(`${topic} lacks partitions`);
      if (!partition.touched) {
        // Read again each time: another process may have appended.
        partition.nextOffset = Number(this.#readNext.get(partition.id)?.['next_offset']);
        partition.touched = true;
        touched.push(partition);
      }
      partition.insert.run(partition.nextOffset, nowMs, key, value);
      partition.nextOffset++;
    }
    for (const partition of touched) {
      this.#writeNext.run(partition.nextOffset, partition.id);
      partition.touched = false;
    }
  }

  #partitionsOf(topic: string): readonly Partition[] {
    let partitions = this.#topics.get(topic);
    if (partitions === undefined) {
      partitions = this.#find(topic) ?? this.#create(topic);
      this.#topics.set(topic, partitions);
    }
    return partitions;
  }

  #find(topic: string): readonly Partition[] | undefined {
    const rows = this.#database
      .prepare('select p.id from topics t join partitions p on p.topic_id = t.id where t.name = ? order by p.partition')
      .all(topic);
    return rows.length === 0 ? undefined : rows.map(({ id }) => this.#partition(Number(id)));
  }

  #create(topic: string): readonly Partition[] {
    const topicId = randomUUID();
    this.#database.prepare('insert into topics (id, name) values (?, ?)').run(topicId, topic);
    const insert = this.#database.prepare('insert into partitions (topic_id, partition) values (?, ?)');
    return Array.from({ length: SQLITE_PARTITIONS }, (_, partition) => {
      const id = Number(insert.run(topicId, partition).lastInsertRowid);
      this.#database.exec(createRecordsTable(id));
      return this.#partition(id);
    });
  }

  #partition(id: number): Partition {
    const insert = this.#database.prepare(`insert into ${recordsTable(id)} values (?, ?, ?, ?)`);
    return { id, insert, nextOffset: 0, touched: false };
  }
}

function serve(port: MessagePort, data: WriterData): void {
  const database = openForWriting(data.dataDir);
  if (data.maxFileBytes !== undefined) {
    const pageBytes = Number(database.prepare('pragma page_size').get()?.['page_size']);
    database.exec(`pragma max_page_count = ${Math.max(1, Math.floor(data.maxFileBytes / pageBytes))}`);
  }
  const writer = new WriterThread(database);
  const retention = new SqliteRetention(database, data);
  const changes = openChanges(changesName(data.dataDir));
  const answer = (act: () => void) => {
    let failure: string | undefined;
    try {
      act();
    } catch (error) {
      failure = error instanceof Error ? error.message : String(error);
    }
    port.postMessage({ failure } satisfies WriterAnswer);
  };
  port.on('message', (request: WriterRequest) => {
    switch (request.kind) {
      case 'append':
        answer(() => writer.append(request.packed, request.timeoutMs));
        return changes.postMessage(undefined);
      case 'ping':
        return answer(() => writer.ping(request.timeoutMs));
      case 'close':
        retention.close();
        // Folds the write-ahead log into the file, where nobody else has it open.
        answer(() => database.close());
        changes.close();
        port.close();
    }
  });
  retention.start();
}

if (parentPort !== null) serve(parentPort, workerData as WriterData);
