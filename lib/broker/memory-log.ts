import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import {
  type ChannelKey,
  ENTRY_OVERHEAD_BYTES,
  type Entry,
  type NewMessage,
  type PublishRate,
  type Retention,
} from './broker.ts';
import { ChannelSnapshot } from './channel-snapshot.ts';
import { BEFORE_ALL, compareEntryIds, type EntryId } from './entry-id.ts';
import { MemoryPages } from './memory-pages.ts';
import { MemorySeen } from './memory-seen.ts';
import { type Identity, messageKey } from './message-key.ts';
import { coalesceWindowMs, findTextDelta } from './text-delta.ts';

const RATE_WINDOW_MS = 1000;
const COMPACT_FROM = 64;
/**
 * What an entry takes beside its data, a little more than was measured (271 bytes of heap): it, its id, what finds it again.
 * What retention counts for it is every broker's alike.
 */
const KEPT_BYTES = 288;

/** An entry, as it is kept: small, and few objects, as there are many. */
interface Kept extends Identity {
  readonly ms: number;
  readonly n: number;
  readonly kind: Entry['kind'];
  readonly coalesceMs: number | undefined;
  /** Its data is there, from `start` to `end`. */
  readonly page: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/**
 * The log of one channel in memory: entries in order, what deduplication remembers of them, the rate windows, and the
 * snapshot if the channel coalesces. It knows nothing of expiry, which is the broker's. Appending and trimming cost O(1)
 * amortized: trimmed entries leave a gap at the front of the array, which is closed when it is larger than what is left.
 */
export class MemoryLog {
  /** The id of the last entry; {@link BEFORE_ALL} before the first. */
  last: EntryId = BEFORE_ALL;
  /** When the whole log goes, by the broker's clock. */
  expiresAtMs = 0;
  /** When the broker last moved it among those that are open. */
  movedMs = Number.NEGATIVE_INFINITY;

  readonly #channel: ChannelKey;
  // Set once a START has declared it.
  #coalesceMs: number | undefined;
  #snapshot: ChannelSnapshot | undefined;
  // What the retained entries count against `maxBytes`.
  #entryBytes = 0;
  #entries: (Kept | undefined)[] = [];
  readonly #pages = new MemoryPages();
  #head = 0;
  #lastMs = 0;
  #lastN = 0;
  // Of the last one that was trimmed: it is `prev` of the first that is left.
  #trimmedMs = 0;
  #trimmedN = 0;
  readonly #seen = new MemorySeen<Kept>();
  readonly #windows: Record<PublishRate['name'], { startMs: number; count: number }> = {
    unary: { startMs: 0, count: 0 },
    stream: { startMs: 0, count: 0 },
  };

  constructor(channel: ChannelKey) {
    this.#channel = channel;
  }

  /** What is held for entries and snapshot together. */
  get bytes(): number {
    const count = this.#entries.length - this.#head;
    return this.#pages.heldBytes + count * KEPT_BYTES + (this.#snapshot?.heldBytes ?? 0);
  }

  /** How much of it appending so much data will be, without what a snapshot has of it. */
  growthBytes(dataBytes: number): number {
    return this.#pages.growthBytes(dataBytes) + KEPT_BYTES;
  }

  /** Whether the last entry seals the channel. */
  get isSealed(): boolean {
    const last = this.#entries.at(-1);
    return last !== undefined && seals(last);
  }

  /** The last entry. */
  get newest(): Entry {
    return this.#entryAt(this.#entries.length - 1);
  }

  /** The id under which this message is retained. */
  seen(message: Identity): EntryId | undefined {
    const kept = this.#seen.find(message);
    return kept && entryIdOf(kept.ms, kept.n);
  }

  /** How long a publish at this rate has to wait; 0: it may go. Counts nothing. */
  waitMs(rate: PublishRate, nowMs: number): number {
    if (rate.perSec === 0) return 0;
    const { startMs, count } = this.#windows[rate.name];
    return count < rate.perSec ? 0 : Math.max(0, startMs + RATE_WINDOW_MS - nowMs);
  }

  count(rate: PublishRate, nowMs: number): void {
    if (rate.perSec === 0) return;
    const window = this.#windows[rate.name];
    if (nowMs >= window.startMs + RATE_WINDOW_MS) {
      window.startMs = nowMs;
      window.count = 0;
    }
    window.count += 1;
  }

  /** Copies what it keeps of the message, which it has not {@link seen}; none is `producer_lost`. `nowMs` never goes back. */
  append(message: NewMessage | undefined, nowMs: number): void {
    const { messageId, phase, sequence, data } = message ?? PRODUCER_LOST;
    const kind = message === undefined ? 'producer_lost' : 'message';
    if (phase === Phase.START) this.#declare(data);
    const delta = this.#coalesceMs !== undefined && phase === Phase.DELTA ? findTextDelta(data) : undefined;
    const coalesceMs = delta === undefined ? undefined : this.#coalesceMs;
    const ms = nowMs;
    const n = ms === this.#lastMs ? this.#lastN + 1 : 0;
    const start = this.#pages.put(data);
    const { page } = this.#pages;
    const end = start + data.length;
    const kept: Kept = { ms, n, kind, messageId, phase, sequence, coalesceMs, page, start, end };
    this.#entries.push(kept);
    if (message !== undefined) this.#seen.add(kept);
    this.#entryBytes += data.length + ENTRY_OVERHEAD_BYTES;
    this.#lastMs = ms;
    this.#lastN = n;
    this.last = entryIdOf(ms, n);
    this.#snapshot?.add(delta === undefined ? withOwnBytes(this.newest) : this.newest, messageKey(kept), delta);
  }

  /** Lets go what retention allows to go; never the last entry. A snapshot that is too large goes as a whole. */
  trim(retention: Retention, nowMs: number): void {
    if (this.#snapshot && this.#snapshot.bytes > retention.maxBytes) this.#snapshot = undefined;
    for (let count = this.#entries.length - this.#head; count > 1; count -= 1) {
      const first = this.#entries[this.#head];
      if (!first) return;
      const surplus = count - 1 > retention.maxEntries && nowMs - first.ms > retention.minAgeMs;
      if (!surplus && this.#entryBytes <= retention.maxBytes) return;
      this.#dropFirst(first);
    }
  }

  /** What {@link Broker.read} answers: entries up to where the next piece of the snapshot begins, and pieces from there. */
  after(after: EntryId, limit: number): Entry[] {
    const snapshot = this.#snapshot;
    const place = snapshot?.placeFrom(after);
    if (!snapshot || !place) return this.#entriesAfter(after, limit);
    // What retention has taken of these is missing; the pieces behind them are whole.
    const between = place.id === after ? [] : this.#entriesAfter(after, limit);
    const entries = between.filter(({ id }) => compareEntryIds(id, place.id) <= 0);
    return [...entries, ...snapshot.pieces(place.next, limit - entries.length)];
  }

  #entriesAfter(after: EntryId, limit: number): Entry[] {
    let low = this.#head;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareEntryIds(this.#idAt(middle), after) <= 0) low = middle + 1;
      else high = middle;
    }
    const entries: Entry[] = [];
    for (const end = Math.min(low + limit, this.#entries.length); low < end; low += 1) entries.push(this.#entryAt(low));
    return entries;
  }

  #entryAt(index: number): Entry {
    const kept = this.#entries[index] as Kept;
    const { kind, coalesceMs, page, start, end } = kept;
    return {
      id: this.#idAt(index),
      prev: this.#idAt(index - 1),
      kind,
      seals: seals(kept),
      data: page.subarray(start, end),
      coalesceMs,
    };
  }

  /** Of an entry that is kept, or of the one before. */
  #idAt(index: number): EntryId {
    const kept = index < this.#head ? undefined : this.#entries[index];
    return kept ? entryIdOf(kept.ms, kept.n) : entryIdOf(this.#trimmedMs, this.#trimmedN);
  }

  #declare(start: Uint8Array): void {
    const windowMs = coalesceWindowMs(start);
    if (windowMs === undefined) return;
    this.#coalesceMs = windowMs;
    this.#snapshot ??= new ChannelSnapshot(this.#channel, this.last);
  }

  #dropFirst(first: Kept): void {
    const { ms, n, page, start, end } = first;
    if (first.kind === 'message') this.#seen.delete(first);
    this.#entryBytes -= end - start + ENTRY_OVERHEAD_BYTES;
    this.#trimmedMs = ms;
    this.#trimmedN = n;
    this.#entries[this.#head] = undefined;
    this.#head += 1;
    if (this.#entries[this.#head]?.page !== page) this.#pages.giveBack(page);
    if (this.#head >= COMPACT_FROM && this.#head * 2 >= this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
  }
}

/** What a snapshot keeps, it keeps for longer than the log its pages. */
function withOwnBytes(entry: Entry): Entry {
  return { ...entry, data: entry.data.slice() };
}

const PRODUCER_LOST = { messageId: '', phase: Phase.UNSPECIFIED, sequence: 0n, data: new Uint8Array(0) };

function seals({ kind, phase }: Kept): boolean {
  return kind === 'producer_lost' || phase === Phase.END;
}

function entryIdOf(ms: number, n: number): EntryId {
  return `${ms}-${n}` as EntryId;
}
