import { chunkOf } from './chunk-wire.ts';
import type { CompositeCursor } from './composite-cursor.ts';
import { type ControlNotice, concatBytes, type EntryWire, type Wire } from './delivery.ts';
import type { WirePair } from './rpc-face.ts';

/**
 * How a face spells what it sends to listeners of several channels. An entry carries no cursor, so that it is the same for
 * all of them whatever else they listen to; of `producer_lost`, and of what is no message, nothing is spelled here.
 */
export interface ManyWire<T> extends EntryWire<T>, Pick<Wire<T>, 'opening' | 'heartbeat' | 'goodbye'> {
  /** A channel's. */
  channelControl(notice: ControlNotice, channelId: string): T;
  /** A write of its own, which concerns all and moves no cursor. */
  control(notice: ControlNotice): T;
  sizeOf(chunk: T): number;
  /** An entry, as `chunk` spells it, with the cursor after it: they arrive together, or not at all. */
  withCursor(chunk: T, cursor: CompositeCursor): readonly T[];
  /** One write: these, and the cursor after them; undefined: the last of them has it. */
  together(chunks: readonly T[], cursor: CompositeCursor | undefined): T;
}

/** What differs from protocol to protocol, in bytes. */
export interface ManySpelling
  extends Pick<ManyWire<Uint8Array>, 'slot' | 'entry' | 'opening' | 'heartbeat' | 'goodbye'> {
  /** `channelId`: whose it is; undefined: it concerns all. */
  control(notice: ControlNotice, channelId?: string): Uint8Array;
  /** What stands before a cursor of this length, and behind it. */
  cursorHead(length: number): Uint8Array;
  readonly cursorEnd: Uint8Array;
  /** An entry that has a cursor of this length: what stands before the cursor, and behind it. */
  carrying(entry: Uint8Array, length: number): { readonly before: readonly Uint8Array[]; readonly after: Uint8Array };
}

/** Both are made of the same entries: a whole write is one chunk of HTTP/1.1's transfer coding. */
export function manyWires(spelling: ManySpelling): WirePair<ManyWire<Uint8Array>> {
  const parts = (chunks: readonly Uint8Array[], cursor: CompositeCursor | undefined) =>
    cursor === undefined
      ? chunks
      : [...chunks, spelling.cursorHead(cursor.bytes.byteLength), cursor.bytes, spelling.cursorEnd];
  const { slot, entry, opening, heartbeat, goodbye } = spelling;
  const wire: ManyWire<Uint8Array> = {
    slot,
    entry,
    opening,
    heartbeat,
    goodbye,
    channelControl: (notice, channelId) => spelling.control(notice, channelId),
    control: (notice) => spelling.control(notice),
    join: concatBytes,
    sizeOf: ({ byteLength }) => byteLength,
    withCursor(chunk, { bytes }) {
      const { before, after } = spelling.carrying(chunk, bytes.byteLength);
      // Of its own: the cursor moves on before this is written.
      return [...before, Uint8Array.from(bytes), after];
    },
    together: (chunks, cursor) => concatBytes(parts(chunks, cursor)),
  };
  const chunkWire: ManyWire<Uint8Array> = {
    ...wire,
    opening: opening === undefined ? undefined : chunkOf(opening),
    heartbeat: chunkOf(heartbeat),
    control: (notice) => chunkOf(spelling.control(notice)),
    goodbye(retryMs) {
      const words = goodbye(retryMs);
      return words === undefined ? undefined : chunkOf(words);
    },
    together: (chunks, cursor) => chunkOf(...parts(chunks, cursor)),
  };
  return { wire, chunkWire };
}
