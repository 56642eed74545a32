import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { type ChannelKey, ENTRY_OVERHEAD_BYTES, type Entry, type PublishRate, type Retention } from './broker.ts';
import { ChannelSnapshot } from './channel-snapshot.ts';
import { BEFORE_ALL, compareEntryIds, type EntryId, entryIdMs } from './entry-id.ts';
import { coalesceWindowMs, findTextDelta } from './text-delta.ts';

const RATE_WINDOW_MS = 1000;
const COMPACT_FROM = 64;

/**
 * The log of one channel in memory: entries in order, what deduplication remembers of them, the rate windows, and the
 * snapshot if the channel coalesces. It knows nothing of expiry, which is the broker's. Appending and trimming cost O(1) amortized: trimmed entries leave a
 * gap at the front of the arrays, which is closed when it is larger than what is left.
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
  #entries: (Entry | undefined)[] = [];
  // Parallel to #entries: what to forget when the entry goes.
  #keys: string[] = [];
  #head = 0;
  #lastMs = 0;
  #lastN = 0;
  readonly #seen = new Map<string, EntryId>();
  readonly #windows: Record<PublishRate['name'], { startMs: number; count: number }> = {
    unary: { startMs: 0, count: 0 },
    stream: { startMs: 0, count: 0 },
  };

  constructor(channel: ChannelKey) {
    this.#channel = channel;
  }

  /** Of entries and snapshot together. What both have is in memory once and counted twice. */
  get bytes(): number {
    return this.#entryBytes + (this.#snapshot?.bytes ?? 0);
  }

  /** The id under which a message with this deduplication key is retained. */
  seen(key: string): EntryId | undefined {
    return this.#seen.get(key);
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

  /**
   * `key` is what deduplication is to remember, empty for nothing. Without a phase it is `producer_lost`. `nowMs` never
   * goes back.
   */
  append(key: string, data: Uint8Array, phase: Phase | undefined, nowMs: number): Entry {
    if (phase === Phase.START) this.#declare(data);
    const delta = this.#coalesceMs !== undefined && phase === Phase.DELTA ? findTextDelta(data) : undefined;
    this.#lastN = nowMs === this.#lastMs ? this.#lastN + 1 : 0;
    this.#lastMs = nowMs;
    const id = `${nowMs}-${this.#lastN}` as EntryId;
    const kind = phase === undefined ? 'producer_lost' : 'message';
    const seals = phase === undefined || phase === Phase.END;
    const coalesceMs = delta === undefined ? undefined : this.#coalesceMs;
    const entry: Entry = { id, prev: this.last, kind, seals, data, coalesceMs };
    this.#entries.push(entry);
    this.#keys.push(key);
    if (key) this.#seen.set(key, id);
    this.#entryBytes += data.length + ENTRY_OVERHEAD_BYTES;
    this.#snapshot?.add(entry, key, delta);
    this.last = id;
    return entry;
  }

  /** Lets go what retention allows to go; never the last entry. A snapshot that is too large goes as a whole. */
  trim(retention: Retention, nowMs: number): void {
    if (this.#snapshot && this.#snapshot.bytes > retention.maxBytes) this.#snapshot = undefined;
    for (let count = this.#entries.length - this.#head; count > 1; count -= 1) {
      const first = this.#entries[this.#head];
      if (!first) return;
      const surplus = count - 1 > retention.maxEntries && nowMs - entryIdMs(first.id) > retention.minAgeMs;
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
    const entries = this.#entries;
    let low = this.#head;
    let high = entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const entry = entries[middle];
      if (entry && compareEntryIds(entry.id, after) <= 0) low = middle + 1;
      else high = middle;
    }
    return entries.slice(low, low + limit).filter((entry) => entry !== undefined);
  }

  #declare(start: Uint8Array): void {
    const windowMs = coalesceWindowMs(start);
    if (windowMs === undefined) return;
    this.#coalesceMs = windowMs;
    this.#snapshot ??= new ChannelSnapshot(this.#channel, this.last);
  }

  #dropFirst(first: Entry): void {
    const key = this.#keys[this.#head];
    if (key) this.#seen.delete(key);
    this.#entryBytes -= first.data.length + ENTRY_OVERHEAD_BYTES;
    this.#entries[this.#head] = undefined;
    this.#head += 1;
    if (this.#head >= COMPACT_FROM && this.#head * 2 >= this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#keys = this.#keys.slice(this.#head);
      this.#head = 0;
    }
  }
}
