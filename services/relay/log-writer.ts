import { setTimeout as delay } from 'node:timers/promises';
import { type Log, LogFullError, type NewRecord } from '#lib/log/log.ts';

export interface LogWriterOptions {
  readonly log: Log;
  /** Hears when the log begins to fail. */
  readonly onError: (error: unknown) => void;
}

/** What is appended at once: far less than may wait to be. */
const MAX_APPEND_BYTES = 4 * 1024 * 1024;
const FIRST_PAUSE_MS = 100;
const MAX_PAUSE_MS = 2_000;
/** A log that fails for so long is away: what is sent meanwhile is not answered as taken. */
const AWAY_AFTER_MS = 5_000;

/** Appends until it has worked, however long the log is away. Whoever writes bounds how much that may be. */
export class LogWriter {
  readonly #options: LogWriterOptions;
  readonly #closed = new AbortController();
  #failingSinceMs: number | undefined;

  constructor(options: LogWriterOptions) {
    this.#options = options;
  }

  get isAway(): boolean {
    return this.#failingSinceMs !== undefined && performance.now() - this.#failingSinceMs > AWAY_AFTER_MS;
  }

  /** True: all of it is in the log. False: it was closed before that. In order, and never rejects. */
  async write(records: readonly NewRecord[]): Promise<boolean> {
    for (let from = 0; from < records.length; ) {
      const to = endOfPiece(records, from);
      const piece = from === 0 && to === records.length ? records : records.slice(from, to);
      if (!(await this.#append(piece))) return false;
      from = to;
    }
    return true;
  }

  /** What is being appended is still waited for; what has failed is given up. */
  close(): void {
    this.#closed.abort();
  }

  async #append(records: readonly NewRecord[]): Promise<boolean> {
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS)) {
      try {
        await this.#options.log.append(records);
        this.#failingSinceMs = undefined;
        return true;
      } catch (error) {
        // Full, it is at work.
        if (!(error instanceof LogFullError)) this.#fail(error);
      }
      try {
        await delay(pauseMs * (0.5 + Math.random() / 2), undefined, { signal: this.#closed.signal });
      } catch {
        return false;
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
