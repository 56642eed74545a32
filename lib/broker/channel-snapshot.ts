import { type ChannelKey, ENTRY_OVERHEAD_BYTES, type Entry, MAX_PIECE_BYTES } from './broker.ts';
import { compareEntryIds, type EntryId } from './entry-id.ts';
import { encodeJoinedText } from './joined-text.ts';
import type { TextDelta } from './text-delta.ts';

const FIRST_TEXT_BYTES = 256;
/** What a piece takes beside its data, a little more than was measured (377 bytes), and what a snapshot takes by itself. */
const PIECE_BYTES = 400;
const SNAPSHOT_BYTES = 512;

/** The last piece while it is text: more may be joined to it. */
interface OpenText {
  readonly prev: EntryId;
  readonly name: string;
  readonly coalesceMs: number | undefined;
  lastId: EntryId;
  lastKey: string;
  /** Grows by doubling; the first `length` bytes are the text. */
  text: Buffer;
  length: number;
  /** Made when somebody reads it. */
  entry: Entry | undefined;
}

/** Where a reader goes on in a snapshot: the pieces from `next` on are what came after `id`. */
export interface Place {
  readonly id: EntryId;
  readonly next: number;
}

/** The snapshot of one channel in memory: what was published since it began, text deltas joined. */
export class ChannelSnapshot {
  /** What it counts against `maxBytes`: texts, other messages' data, and the overhead of each piece. */
  bytes = 0;
  /** What it takes. Short pieces take a multiple of what they count. */
  heldBytes = SNAPSHOT_BYTES;
  readonly #channel: ChannelKey;
  /** The id before the first piece. */
  readonly #before: EntryId;
  /** All pieces but an open one. */
  readonly #pieces: Entry[] = [];
  #open: OpenText | undefined;

  constructor(channel: ChannelKey, before: EntryId) {
    this.#channel = channel;
    this.#before = before;
  }

  /** `delta` says where the entry has its text, if it is one that may be joined. */
  add(entry: Entry, key: string, delta: TextDelta | undefined): void {
    if (delta === undefined) {
      this.#close();
      this.#pieces.push(entry);
      this.bytes += entry.data.length + ENTRY_OVERHEAD_BYTES;
      this.heldBytes += entry.data.length + PIECE_BYTES;
      return;
    }
    const data = Buffer.from(entry.data.buffer, entry.data.byteOffset, entry.data.length);
    const name = data.toString('utf8', delta.nameStart, delta.nameEnd);
    const size = delta.textEnd - delta.textStart;
    let open = this.#open;
    if (open === undefined || open.name !== name || open.length + size > MAX_PIECE_BYTES) {
      this.#close();
      const text = Buffer.allocUnsafeSlow(Math.max(FIRST_TEXT_BYTES, size));
      const { prev, id: lastId, coalesceMs } = entry;
      open = { prev, name, coalesceMs, lastId, lastKey: key, text, length: 0, entry: undefined };
      this.#open = open;
      this.bytes += ENTRY_OVERHEAD_BYTES;
      this.heldBytes += text.length + PIECE_BYTES;
    }
    if (open.length + size > open.text.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(2 * open.text.length, open.length + size));
      open.text.copy(larger, 0, 0, open.length);
      this.heldBytes += larger.length - open.text.length;
      open.text = larger;
    }
    data.copy(open.text, open.length, delta.textStart, delta.textEnd);
    open.length += size;
    open.lastId = entry.id;
    open.lastKey = key;
    open.entry = undefined;
    this.bytes += size;
  }

  /** The first place that is not before `after`; undefined if there is none. */
  placeFrom(after: EntryId): Place | undefined {
    if (compareEntryIds(after, this.#before) <= 0) return { id: this.#before, next: 0 };
    let low = 0;
    let high = this.#pieces.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const piece = this.#pieces[middle];
      if (piece && compareEntryIds(piece.id, after) < 0) low = middle + 1;
      else high = middle;
    }
    const id = this.#pieces[low]?.id ?? this.#open?.lastId;
    return id !== undefined && compareEntryIds(after, id) <= 0 ? { id, next: low + 1 } : undefined;
  }

  /** Up to `limit` pieces from `next` on. */
  pieces(next: number, limit: number): Entry[] {
    const pieces = this.#pieces.slice(next, next + limit);
    if (this.#open && pieces.length < limit && next <= this.#pieces.length) pieces.push(this.#entryOf(this.#open));
    return pieces;
  }

  #close(): void {
    if (this.#open === undefined) return;
    const piece = this.#entryOf(this.#open);
    this.#pieces.push(piece);
    this.heldBytes += piece.data.length - this.#open.text.length;
    this.#open = undefined;
  }

  #entryOf(open: OpenText): Entry {
    if (open.entry) return open.entry;
    const { prev, lastId: id, lastKey, name, coalesceMs } = open;
    const text = open.text.subarray(0, open.length);
    const data = encodeJoinedText({ channel: this.#channel, lastKey, name, text });
    open.entry = { id, prev, kind: 'message', seals: false, data, coalesceMs };
    return open.entry;
  }
}
