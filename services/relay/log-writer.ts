import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Outcome, OutcomeStamp } from '#lib/ingest/outcome.ts';
import { type Log, LogFullError, LogUnavailableError, type NewRecord } from '#lib/log/log.ts';
import { takeGroup } from '#lib/log/take-group.ts';
import { outcomeRecord } from './outcome-record.ts';

export interface LogWriterOptions {
  readonly log: Log;
  /** Hears when the log begins to fail, and of what it can't take. */
  readonly onError: (error: unknown) => void;
}

/** What is in the log as a whole, or is not. */
export interface Part {
  readonly records: readonly NewRecord[];
  readonly outcomes: readonly Outcome[];
}

/**
 * `refused`: the log will never take its records, of which some may be there; its outcomes are. `closed`: it was closed
 * before it did; some of it may be there.
 */
export type Written = 'logged' | 'refused' | 'closed';

/** What is appended at once: far less than may wait to be. */
const MAX_APPEND_BYTES = 4 * 1024 * 1024;
/**
 * Others wait here, where nothing ends their wait: an append that came to its deadline may be there all the same, and is
 * there twice when it is repeated. What waits goes together: a log that answers slowly is not to be asked often for little.
 */
const MAX_APPENDS = 8;
/** Of an outcome's record, about. */
const OUTCOME_BYTES = 512;
const FIRST_PAUSE_MS = 100;
const MAX_PAUSE_MS = 2_000;
/** A log that fails for so long is away: what is sent meanwhile is not answered as taken. */
const AWAY_AFTER_MS = 5_000;

/** Appends one thing after the other, each until it is known to be there: so its outcomes' sequence rises in the log, too. */
interface Lane {
  readonly writer: string;
  sequence: number;
}

interface Waiting {
  readonly parts: readonly Part[];
  readonly bytes: number;
  readonly resolve: (written: Written[]) => void;
}

/** A record, and whose it is. */
interface Owned {
  readonly part: number;
  readonly record: NewRecord;
  readonly isOutcome: boolean;
}

/** Appends until it has worked, however long the log is away. Whoever writes bounds how much that may be. */
export class LogWriter {
  readonly #options: LogWriterOptions;
  readonly #closed = new AbortController();
  readonly #waiting: Waiting[] = [];
  /** The first is taken first: consumers remember each that has had outcomes. */
  readonly #free: Lane[];
  #failingSinceMs: number | undefined;

  constructor(options: LogWriterOptions) {
    this.#options = options;
    const name = randomBytes(8).toString('hex');
    this.#free = Array.from({ length: MAX_APPENDS }, (_, n) => ({ writer: `${name}-${n}`, sequence: 0 }));
  }

  get isAway(): boolean {
    return this.#failingSinceMs !== undefined && performance.now() - this.#failingSinceMs > AWAY_AFTER_MS;
  }

  /** In their order. Never rejects. @returns what became of each. */
  write(parts: readonly Part[]): Promise<Written[]> {
    return new Promise((resolve) => {
      this.#waiting.push({ parts, bytes: bytesOf(parts), resolve });
      const lane = this.#free.shift();
      if (lane !== undefined) void this.#use(lane);
    });
  }

  /** What is being appended is still waited for; what has failed is given up, and what waits is tried once. */
  close(): void {
    this.#closed.abort();
  }

  /** Never rejects. */
  async #use(lane: Lane): Promise<void> {
    while (this.#waiting.length > 0) {
      const next = takeGroup(this.#waiting, MAX_APPEND_BYTES);
      const written = await this.#write(
        next.flatMap(({ parts }) => parts),
        lane,
      );
      let from = 0;
      for (const { parts, resolve } of next) {
        resolve(written.slice(from, from + parts.length));
        from += parts.length;
      }
    }
    this.#free.unshift(lane);
  }

  async #write(parts: readonly Part[], lane: Lane): Promise<Written[]> {
    const written = parts.map((): Written => 'logged');
    const all = parts.flatMap(({ records, outcomes }, part) => [
      ...records.map((record) => ({ part, record, isOutcome: false })),
      // Stamped once: what is appended again must be known again.
      ...outcomes.map((outcome) => ({ part, record: outcomeRecord(outcome, nextStamp(lane)), isOutcome: true })),
    ]);
    for (let from = 0; from < all.length; ) {
      const to = endOfPiece(all, from);
      const result = await this.#writePiece(all.slice(from, to), written);
      if (result === 'closed') {
        for (const { part } of all.slice(from)) written[part] = 'closed';
        break;
      }
      from = to;
    }
    return written;
  }

  /** Of what the log will never take one part may be to blame: the others need not go with it. */
  async #writePiece(piece: readonly Owned[], written: Written[]): Promise<Written> {
    const left = piece.filter(({ part, isOutcome }) => written[part] === 'logged' || isOutcome);
    if (left.length === 0) return 'logged';
    const result = await this.#append(left.map(({ record }) => record));
    if (result !== 'refused') return result;
    const parts = new Set(left.map(({ part }) => part));
    if (parts.size > 1) {
      for (const part of parts) {
        const ofPart = left.filter((each) => each.part === part);
        if ((await this.#writePiece(ofPart, written)) === 'closed') return 'closed';
      }
      return 'logged';
    }
    for (const part of parts) written[part] = 'refused';
    // Some may be there already. By other stamps, with what is said in place of the records, they would count twice.
    const outcomes = left.filter(({ isOutcome }) => isOutcome);
    return outcomes.length < left.length ? this.#writePiece(outcomes, written) : 'logged';
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

function bytesOf(parts: readonly Part[]): number {
  let bytes = 0;
  for (const { records, outcomes } of parts) {
    for (const { key, value } of records) bytes += key.byteLength + value.byteLength;
    bytes += outcomes.length * OUTCOME_BYTES;
  }
  return bytes;
}

function nextStamp(lane: Lane): OutcomeStamp {
  return { writer: lane.writer, sequence: lane.sequence++ };
}

/** One record at least. */
function endOfPiece(all: readonly Owned[], from: number): number {
  let bytes = 0;
  for (let to = from; to < all.length; to += 1) {
    bytes += (all[to]?.record.value.byteLength ?? 0) + (all[to]?.record.key.byteLength ?? 0);
    if (bytes > MAX_APPEND_BYTES && to > from) return to;
  }
  return all.length;
}
