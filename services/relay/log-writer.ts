import { setTimeout as delay } from 'node:timers/promises';
import { type Log, LogFullError, LogUnavailableError, type NewRecord } from '#lib/log/log.ts';

export interface LogWriterOptions {
  readonly log: Log;
  /** Hears when the log begins to fail, and of what it can't take. */
  readonly onError: (error: unknown) => void;
}

/** `refused`: the log will never take it. `closed`: it was closed before it did. Of either, some may be there. */
export type Written = 'logged' | 'refused' | 'closed';

/** What is appended at once: far less than may wait to be. */
const MAX_APPEND_BYTES = 4 * 1024 * 1024;
/**
 * Others wait here, where nothing ends their wait: an append that came to its deadline may be there all the same, and is
 * there twice when it is repeated.
 */
const MAX_APPENDS = 8;
const FIRST_PAUSE_MS = 100;
const MAX_PAUSE_MS = 2_000;
/** A log that fails for so long is away: what is sent meanwhile is not answered as taken. */
const AWAY_AFTER_MS = 5_000;

/** Appends until it has worked, however long the log is away. Whoever writes bounds how much that may be. */
export class LogWriter {
  readonly #options: LogWriterOptions;
  readonly #closed = new AbortController();
  readonly #waiting: (() => void)[] = [];
  #appends = 0;
  #failingSinceMs: number | undefined;

  constructor(options: LogWriterOptions) {
    this.#options = options;
  }

  get isAway(): boolean {
    return this.#failingSinceMs !== undefined && performance.now() - this.#failingSinceMs > AWAY_AFTER_MS;
  }

  /** In the order of the records. Never rejects. */
  async write(records: readonly NewRecord[]): Promise<Written> {
    if (this.#appends >= MAX_APPENDS) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#appends += 1;
    try {
      return await this.#write(records);
    } finally {
      const next = this.#waiting.shift();
      if (next !== undefined) next();
      else this.#appends -= 1;
    }
  }

  /** What is being appended is still waited for; what has failed is given up, and what waits is tried once. */
  close(): void {
    this.#closed.abort();
  }

  async #write(records: readonly NewRecord[]): Promise<Written> {
    for (let from = 0; from < records.length; ) {
      const to = endOfPiece(records, from);
      const piece = from === 0 && to === records.length ? records : records.slice(from, to);
      const written = await this.#append(piece);
      if (written !== 'logged') return written;
      from = to;
    }
    return 'logged';
  }

  async #append(records: readonly NewRecord[]): Promise<Written> {
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS)) {
      try {
        await this.#options.log.append(records);
        this.#failingSinceMs = undefined;
        return 'logged';
      } catch (error) {
        // Full, it is at work.
        if (error instanceof LogUnavailableError) this.#fail(error);
        else if (!(error instanceof LogFullError)) {
          // It answers. Left as away, nothing more would be written by which that could be seen.
          this.#failingSinceMs = undefined;
          this.#options.onError(error);
          return 'refused';
        }
      }
      try {
        await delay(pauseMs * (0.5 + Math.random() / 2), undefined, { signal: this.#closed.signal });
      } catch {
        return 'closed';
      }
    }
  }

  #fail(error: unknown): void {
    if (this.#failingSinceMs === undefined) this.#options.onError(error);
    this.#failingSinceMs ??= performance.now();
  }
}

/** One record at least. */
function endOfPiece(records: readonly NewRecord[], from: number): number {
  let bytes = 0;
  for (let to = from; to < records.length; to += 1) {
    bytes += (records[to]?.value.byteLength ?? 0) + (records[to]?.key.byteLength ?? 0);
    if (bytes > MAX_APPEND_BYTES && to > from) return to;
  }
  return records.length;
}
