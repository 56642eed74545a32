import type { DatabaseSync } from 'node:sqlite';
import { recordsTable } from './sqlite-log-file.ts';

export interface RetentionOptions {
  readonly retentionMs: number;
  readonly retentionCheckMs: number;
}

/** A piece takes the writer a few ms: appends go between pieces. */
const PIECE_RECORDS = 500;
const PIECE_BYTES = 4 * 1024 * 1024;
const LOCK_WAIT_MS = 10;

/**
 * Deletes what is older than the retention, from the beginning of each partition, a piece a turn of the event loop. The
 * file does not become smaller: what is freed is used again.
 */
export class SqliteRetention {
  readonly #database: DatabaseSync;
  readonly #options: RetentionOptions;
  #next: NodeJS.Timeout | NodeJS.Immediate | undefined;

  constructor(database: DatabaseSync, options: RetentionOptions) {
    this.#database = database;
    this.#options = options;
  }

  start(): void {
    this.#work([]);
  }

  close(): void {
    clearTimeout(this.#next as NodeJS.Timeout);
    clearImmediate(this.#next as NodeJS.Immediate);
  }

  #work(partitionIds: readonly number[]): void {
    const [partitionId, ...others] = partitionIds;
    if (partitionId === undefined) {
      this.#next = setTimeout(() => this.#work(this.#partitionIds()), this.#options.retentionCheckMs);
      return;
    }
    let more = false;
    try {
      more = this.#deletePiece(partitionId);
    } catch {
      // Locked, or the disk is away: it is tried again at the next check, and appends say what is wrong.
    }
    this.#next = setImmediate(() => this.#work(more ? partitionIds : others));
  }

  #partitionIds(): number[] {
    try {
      return this.#database
        .prepare('select id from partitions')
        .all()
        .map(({ id }) => Number(id));
    } catch {
      return [];
    }
  }

  /** Whether there is more. */
  #deletePiece(partitionId: number): boolean {
    const table = recordsTable(partitionId);
    const nowMs = Date.now();
    const oldestMs = nowMs - this.#options.retentionMs;
    // Lengths and times are read without the values themselves.
    const rows = this.#database
      .prepare(
        `select "offset", timestamp_ms, length(key) + length(value) as bytes from ${table} order by "offset" limit ?`,
      )
      .all(PIECE_RECORDS);
    const outdated = Number(rows[0]?.['timestamp_ms']) > nowMs ? this.#outdatedBefore(table, nowMs, oldestMs) : 0;
    let bytes = 0;
    let count = 0;
    let last: unknown;
    for (const row of rows) {
      const isOld = Number(row['timestamp_ms']) < oldestMs || Number(row['offset']) < outdated;
      if (!isOld || bytes > PIECE_BYTES) break;
      bytes += Number(row['bytes']);
      last = row['offset'];
      count++;
    }
    if (count === 0) return false;
    this.#database.exec(`pragma busy_timeout = ${LOCK_WAIT_MS}`);
    this.#database.prepare(`delete from ${table} where "offset" <= ?`).run(last as number);
    return count === PIECE_RECORDS || bytes > PIECE_BYTES;
  }

  /**
   * A partition that begins with what was appended while the clock was ahead, perhaps by years: that is as old at least as
   * what came behind it when the clock was right again. Looked for in halves, as there may be many.
   * @returns the offset of such a one that is too old, or 0
   */
  #outdatedBefore(table: string, nowMs: number, oldestMs: number): number {
    const at = this.#database.prepare(
      `select "offset", timestamp_ms as timeMs from ${table} where "offset" >= ? order by "offset" limit 1`,
    );
    const ends = this.#database.prepare(`select min("offset") as first, max("offset") as last from ${table}`).get();
    let ahead = Number(ends?.['first']);
    let right = Number(ends?.['last']);
    if (Number(at.get(right)?.['timeMs']) > nowMs) return 0;
    while (right - ahead > 1) {
      const middle = Math.floor((ahead + right) / 2);
      if (Number(at.get(middle)?.['timeMs']) > nowMs) ahead = middle;
      else right = middle;
    }
    return Number(at.get(right)?.['timeMs']) < oldestMs ? right : 0;
  }
}
