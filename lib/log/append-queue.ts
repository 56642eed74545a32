import {
  APPEND_DEADLINE_MS,
  type AppendLimits,
  DEFAULT_APPEND_LIMITS,
  LogFullError,
  LogUnavailableError,
  MAX_RECORD_BYTES,
  type NewRecord,
} from './log.ts';
import { takeGroup } from './take-group.ts';

/** What one group may have, beside its first append. Waits longer than its deadline are no failure of the group. */
export const MAX_GROUP_BYTES = 4 * 1024 * 1024;

export interface AppendQueueOptions {
  readonly limits?: AppendLimits | undefined;
  readonly deadlineMs?: number | undefined;
  /**
   * Writes the records of a group, in their order, and resolves when they are durable. Called again only after it has
   * settled, which it must within about `timeoutMs`.
   * @throws LogUnavailableError
   * @throws RecordRefusedError one of them will never be taken. Then each append is written by itself.
   */
  readonly write: (records: readonly NewRecord[], timeoutMs: number) => Promise<void>;
}

interface Append {
  readonly records: readonly NewRecord[];
  readonly bytes: number;
  readonly deadlineMs: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  settled: boolean;
}

/**
 * Appends that wait, bounded in bytes and in time, and written in groups: while one is written the next one gathers. One
 * at a time keeps the order of a key whatever fails, and whoever waits alone waits for nobody.
 */
export class AppendQueue {
  readonly #maxWaitingBytes: number;
  readonly #deadlineMs: number;
  readonly #write: AppendQueueOptions['write'];
  #waiting: Append[] = [];
  #writing: readonly Append[] = [];
  /** Of those that wait and those that are being written: what this takes of memory. */
  #bytes = 0;
  #scheduled = false;
  #closed = false;
  #deadline: NodeJS.Timeout | undefined;
  #whenIdle: (() => void)[] = [];

  constructor({ limits = DEFAULT_APPEND_LIMITS, deadlineMs = APPEND_DEADLINE_MS, write }: AppendQueueOptions) {
    this.#maxWaitingBytes = limits.maxWaitingBytes;
    this.#deadlineMs = deadlineMs;
    this.#write = write;
  }

  get waitingBytes(): number {
    return this.#bytes;
  }

  async append(records: readonly NewRecord[]): Promise<void> {
    if (this.#closed) throw new LogUnavailableError('the log is closed');
    const bytes = bytesOf(records);
    if (records.length === 0) return;
    if (this.#bytes + bytes > this.#maxWaitingBytes) {
      throw new LogFullError(`${this.#bytes} bytes wait to be appended, of at most ${this.#maxWaitingBytes}`);
    }
    this.#bytes += bytes;
    return new Promise((resolve, reject) => {
      const deadlineMs = performance.now() + this.#deadlineMs;
      this.#waiting.push({ records, bytes, deadlineMs, resolve, reject, settled: false });
      this.#deadline ??= setTimeout(() => this.#expire(), this.#deadlineMs);
      this.#schedule();
    });
  }

  /** Takes no more, and resolves when everything was answered, by its deadline at the latest. */
  async close(): Promise<void> {
    this.#closed = true;
    if (!this.#idle) await new Promise<void>((resolve) => this.#whenIdle.push(resolve));
    clearTimeout(this.#deadline);
  }

  get #idle(): boolean {
    return this.#waiting.length === 0 && this.#writing.every(({ settled }) => settled);
  }

  /** At the end of the turn, so that what arrives together goes together. */
  #schedule(): void {
    if (this.#scheduled || this.#writing.length > 0) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      void this.#writeGroup();
    });
  }

  async #writeGroup(): Promise<void> {
    const group = takeGroup(this.#waiting, MAX_GROUP_BYTES);
    if (group.length === 0) return;
    this.#writing = group;
    const failure = await this.#failureOf(group);
    if (failure === undefined || failure instanceof LogUnavailableError || group.length === 1) {
      this.#settle(group, failure);
    } else {
      // What will never be taken is one append's: it takes no other with it.
      for (const append of group) {
        // Whoever came to its deadline meanwhile appends it again.
        const failure = append.settled ? undefined : await this.#failureOf([append]);
        this.#settle([append], failure);
      }
    }
    this.#writing = [];
    this.#afterSettling();
    if (this.#waiting.length > 0) this.#schedule();
  }

  /** Writes it. Never rejects. */
  async #failureOf(group: readonly Append[]): Promise<unknown> {
    const [first] = group;
    if (first === undefined) return undefined;
    try {
      const records = group.length === 1 ? first.records : group.flatMap((append) => append.records);
      await this.#write(records, Math.max(first.deadlineMs - performance.now(), 1));
      return undefined;
    } catch (error) {
      return error;
    }
  }

  #settle(group: readonly Append[], failure: unknown): void {
    for (const append of group) {
      this.#bytes -= append.bytes;
      if (!append.settled && failure === undefined) append.resolve();
      else if (!append.settled) append.reject(failure);
      append.settled = true;
    }
  }

  /** Deadlines are in the order of arrival. What is being written keeps its bytes: they are in memory until it ends. */
  #expire(): void {
    const nowMs = performance.now();
    const error = new LogUnavailableError(`not appended within ${this.#deadlineMs} ms`);
    for (const append of this.#writing) {
      if (append.settled || append.deadlineMs > nowMs) continue;
      append.settled = true;
      append.reject(error);
    }
    const alive = this.#waiting.findIndex(({ deadlineMs }) => deadlineMs > nowMs);
    for (const append of this.#waiting.splice(0, alive === -1 ? this.#waiting.length : alive)) {
      this.#bytes -= append.bytes;
      append.settled = true;
      append.reject(error);
    }
    const next = this.#writing.find(({ settled }) => !settled) ?? this.#waiting[0];
    this.#deadline = next && setTimeout(() => this.#expire(), Math.max(next.deadlineMs - nowMs, 1));
    this.#afterSettling();
  }

  #afterSettling(): void {
    if (this.#whenIdle.length === 0 || !this.#idle) return;
    for (const resolve of this.#whenIdle.splice(0)) resolve();
  }
}

function bytesOf(records: readonly NewRecord[]): number {
  let sum = 0;
  for (const { key, value } of records) {
    const bytes = key.byteLength + value.byteLength;
    if (bytes > MAX_RECORD_BYTES) throw new RangeError(`a record has ${bytes} bytes, of at most ${MAX_RECORD_BYTES}`);
    sum += bytes;
  }
  return sum;
}
