import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import {
  type ChannelKey,
  ENTRY_OVERHEAD_BYTES,
  type Entry,
  type NewMessage,
  type PublishRate,
  type PublishResult,
  type Retention,
  SEAL_OUTLIVES_LOG_MS,
  type Tail,
} from './broker.ts';
import { expectedRead, piecesOf, textDeltaOf, windowOf } from './coalescing-model.ts';
import { BEFORE_ALL, type EntryId, entryIdMs } from './entry-id.ts';

/** When something happened, as the test saw it: a clock read before and after. */
export interface Moment {
  readonly fromMs: number;
  readonly toMs: number;
  /** The clock by which keys expire. */
  readonly ttlMs: number;
}

interface Window {
  startFromMs: number;
  startToMs: number;
  count: number;
  /** Whether the last publish began a new window or still counted for the old one could not be told. */
  unclear: boolean;
}

interface ModelEntry extends Entry {
  readonly message: NewMessage | undefined;
}

/** What the model expects of a publish. Where a rate window may just have ended, both are right. */
export type Expected = PublishResult['kind'] | 'stored or rate_limited';

const RATE_WINDOW_MS = 1000;
// A real server answers in milliseconds; expiries that a test comes so close to can't be told.
const UNCLEAR_EXPIRY_MS = 20_000;

/**
 * One channel as broker.ts promises it, written without a look at any implementation. It can't know ids: it takes them
 * from the answers and checks them.
 */
export class ChannelModel {
  entries: ModelEntry[] = [];
  /** The entries of the log and what was trimmed from it. */
  published: readonly ModelEntry[] = [];
  sealedBy: EntryId | undefined;
  /** Everything ever stored, by id: also what was trimmed, expired or rolled back. */
  readonly stored = new Map<EntryId, Entry>();
  readonly history: NewMessage[] = [];
  /** False once the index of activity may have forgotten it. */
  indexed = true;
  #coalesceMs: number | undefined;
  /** What the snapshot has, not joined. */
  #kept: readonly ModelEntry[] | undefined;
  #logExpiresMs = Number.POSITIVE_INFINITY;
  #sealExpiresMs = Number.POSITIVE_INFINITY;
  #windows = new Map<PublishRate['name'], Window>();
  readonly #retention: Retention;
  readonly #idleTtlMs: number;

  constructor(retention: Retention, idleTtlMs: number) {
    this.#retention = retention;
    this.#idleTtlMs = idleTtlMs;
  }

  get last(): EntryId {
    return this.entries.at(-1)?.id ?? BEFORE_ALL;
  }

  get tail(): Tail {
    return { last: this.last, sealedBy: this.sealedBy };
  }

  get open(): boolean {
    return this.entries.length > 0 && this.sealedBy === undefined;
  }

  /** What a read answers. */
  read(after: EntryId, limit: number): readonly Entry[] {
    return expectedRead(this.entries, piecesOf(this.#kept ?? []), after).slice(0, limit);
  }

  expire(ttlNowMs: number): void {
    if (isOver(this.#logExpiresMs, ttlNowMs)) {
      this.entries = [];
      this.published = [];
      this.#coalesceMs = undefined;
      this.#kept = undefined;
      this.#windows.clear();
      this.#logExpiresMs = Number.POSITIVE_INFINITY;
    }
    if (isOver(this.#sealExpiresMs, ttlNowMs)) {
      this.sealedBy = undefined;
      this.#sealExpiresMs = Number.POSITIVE_INFINITY;
    }
  }

  duplicateOf(message: NewMessage): EntryId | undefined {
    return this.entries.find((entry) => entry.message && same(entry.message, message))?.id;
  }

  expected(message: NewMessage, rate: PublishRate, at: Moment): Expected {
    if (this.duplicateOf(message)) return 'duplicate';
    if (this.sealedBy) return 'sealed';
    const window = this.#windows.get(rate.name);
    if (rate.perSec === 0 || !window || at.fromMs >= window.startToMs + RATE_WINDOW_MS) return 'stored';
    if (window.unclear) return 'stored or rate_limited';
    if (window.count < rate.perSec) return 'stored';
    return at.toMs < window.startFromMs + RATE_WINDOW_MS ? 'rate_limited' : 'stored or rate_limited';
  }

  /** A publish was stored under `id`. {@link trim} follows at the end of the step. */
  store(id: EntryId, message: NewMessage, rate: PublishRate, at: Moment): void {
    if (rate.perSec > 0) this.#count(rate, at);
    this.history.push(message);
    const { phase, data } = message;
    const windowMs = phase === Phase.START ? windowOf(data) : undefined;
    if (windowMs !== undefined) {
      this.#coalesceMs = windowMs;
      this.#kept ??= [];
    }
    const coalesceMs = phase === Phase.DELTA && textDeltaOf(data) ? this.#coalesceMs : undefined;
    this.#append({ id, prev: this.last, kind: 'message', seals: phase === Phase.END, data, coalesceMs, message });
    this.#seal(at);
  }

  /** endIdle ended it with an entry `id`. */
  endIdle(id: EntryId, at: Moment): void {
    const data = new Uint8Array();
    this.#append({ id, prev: this.last, kind: 'producer_lost', seals: true, data, message: undefined });
    this.trim();
    this.#seal(at);
  }

  /** What a roll-back to now restores. */
  snapshot(): () => void {
    const { entries, published, sealedBy } = this;
    const [coalesceMs, kept] = [this.#coalesceMs, this.#kept];
    const [logExpiresMs, sealExpiresMs] = [this.#logExpiresMs, this.#sealExpiresMs];
    const windows = new Map([...this.#windows].map(([name, window]) => [name, { ...window }]));
    return () => {
      this.entries = entries;
      this.published = published;
      this.#coalesceMs = coalesceMs;
      this.#kept = kept;
      this.sealedBy = sealedBy;
      this.#logExpiresMs = logExpiresMs;
      this.#sealExpiresMs = sealExpiresMs;
      this.#windows = windows;
      this.indexed = false;
    };
  }

  #append(entry: ModelEntry): void {
    this.stored.set(entry.id, plain(entry));
    this.entries = [...this.entries, entry];
    this.published = [...this.published, entry];
    if (this.#kept) this.#kept = [...this.#kept, entry];
  }

  /** What retention takes at the end of a step. */
  trim(): void {
    let { entries } = this;
    for (let [oldest] = entries; oldest && entries.length > 1; [oldest] = entries) {
      const surplus = entries.length - 1 > this.#retention.maxEntries;
      const aged = entryIdMs(this.last) - entryIdMs(oldest.id) > this.#retention.minAgeMs;
      if (bytes(entries) <= this.#retention.maxBytes && !(surplus && aged)) break;
      entries = entries.slice(1);
    }
    this.entries = entries;
    if (this.#kept && snapshotBytes(this.#kept) > this.#retention.maxBytes) this.#kept = undefined;
  }

  #seal(at: Moment): void {
    const last = this.entries.at(-1);
    this.indexed = true;
    this.#logExpiresMs = at.ttlMs + (last?.seals ? this.#retention.sealedTtlMs : this.#idleTtlMs);
    if (!last?.seals) return;
    this.sealedBy = last.id;
    this.#sealExpiresMs = this.#logExpiresMs + SEAL_OUTLIVES_LOG_MS;
  }

  #count(rate: PublishRate, at: Moment): void {
    const window = this.#windows.get(rate.name);
    if (!window || at.fromMs >= window.startToMs + RATE_WINDOW_MS) {
      this.#windows.set(rate.name, { startFromMs: at.fromMs, startToMs: at.toMs, count: 1, unclear: false });
    } else if (at.toMs < window.startFromMs + RATE_WINDOW_MS) {
      window.count += 1;
    } else {
      this.#windows.set(rate.name, { ...window, startToMs: at.toMs, unclear: true });
    }
  }
}

/** An entry as the broker answers it, with its data as a plain array: Buffers and Uint8Arrays compare the same. */
export function plain({ id, prev, kind, seals, data, coalesceMs }: Entry): Entry {
  return { id, prev, kind, seals, data: new Uint8Array(data), coalesceMs };
}

function isOver(expiresMs: number, nowMs: number): boolean {
  if (Math.abs(expiresMs - nowMs) < UNCLEAR_EXPIRY_MS) throw new Error('the test comes too close to an expiry');
  return expiresMs < nowMs;
}

function bytes(entries: readonly Entry[]): number {
  return entries.reduce((sum, { data }) => sum + data.length + ENTRY_OVERHEAD_BYTES, 0);
}

function snapshotBytes(kept: readonly Entry[]): number {
  const content = ({ data, coalesceMs }: Entry) =>
    coalesceMs === undefined ? data.length : Buffer.byteLength(textDeltaOf(data)?.text ?? '');
  return kept.reduce((sum, entry) => sum + content(entry), piecesOf(kept).length * ENTRY_OVERHEAD_BYTES);
}

function same(a: NewMessage, b: NewMessage): boolean {
  return a.messageId === b.messageId && a.phase === b.phase && a.sequence === b.sequence;
}

export type ModelChannels = ReadonlyMap<ChannelKey, ChannelModel>;
