import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import type { ChannelKey, Entry, NewMessage } from './broker.ts';
import type { EntryId } from './entry-id.ts';
import { encodeJoinedText } from './joined-text.ts';
import { coalesceWindowMs, findTextDelta } from './text-delta.ts';

const SPACE = 0x20;
const END = 'end';
const PRODUCER_LOST = 'producer_lost';
const TEXT = 'text';
const END_KEY = new RegExp(`/${Phase.END}/`);
const PIECE = /^(\d+) (\S+) (\S+) (\S+) (\S+) (.*)$/s;

/** What the publish script is told of a message beside its key and data; redis-scripts.ts has the words. */
export function messageKind({ phase, data }: NewMessage): string {
  switch (phase) {
    case Phase.DELTA: {
      const delta = findTextDelta(data);
      if (delta === undefined) return 'message';
      return `${TEXT}${delta.nameStart},${delta.nameEnd},${delta.textStart},${delta.textEnd}`;
    }
    case Phase.START: {
      const windowMs = coalesceWindowMs(data);
      return windowMs === undefined ? 'message' : `start${windowMs}`;
    }
    case Phase.END:
      return END;
    default:
      return 'message';
  }
}

/** Reads an entry of the log: the fields `prev`, `key` and `data`, and `coalesce` of a text delta that may be joined. */
export function parseLogEntry(id: Buffer, fields: readonly Buffer[]): Entry {
  const [, prev, , key, , data, , coalesce] = fields;
  if (!prev || !key || !data) throw new Error('the log has an entry that is not ours');
  const place = key.toString('latin1');
  const name = nameOf(place, coalesce);
  return makeEntry(id.toString('latin1'), prev.toString('latin1'), name, data);
}

function nameOf(key: string, coalesce: Buffer | undefined): string {
  if (coalesce !== undefined) return TEXT + coalesce.toString('latin1');
  if (key === PRODUCER_LOST) return PRODUCER_LOST;
  return END_KEY.test(key) ? END : 'message';
}

/** Reads what is published to live readers, `<id> <prev> <name> <data>`; undefined if it is something else. */
export function parseLiveEntry(message: Buffer): Entry | undefined {
  const first = message.indexOf(SPACE);
  const second = message.indexOf(SPACE, first + 1);
  const third = message.indexOf(SPACE, second + 1);
  if (first < 0 || second < 0 || third < 0) return undefined;
  const name = message.toString('latin1', second + 1, third);
  const id = message.toString('latin1', 0, first);
  const prev = message.toString('latin1', first + 1, second);
  return makeEntry(id, prev, name, message.subarray(third + 1));
}

/**
 * Reads pieces of a snapshot of `channel`: a word for each (redis-snapshot-scripts.ts), and the bytes of all, which begin at
 * `from`.
 */
export function parsePieces(channel: ChannelKey, words: readonly Buffer[], bytes: Buffer, from: number): Entry[] {
  let start = 0;
  return words.map((word) => {
    const [, ends, prev = '', id = '', lastKey = '', name = '', called = ''] = PIECE.exec(word.toString()) ?? [];
    const end = Number(ends) - from;
    const piece = bytes.subarray(start, end);
    start = end;
    const data = name.startsWith(TEXT) ? encodeJoinedText({ channel, lastKey, name: called, text: piece }) : piece;
    return makeEntry(id, prev, name, data);
  });
}

/** `name`: `message`, `end`, `producer_lost`, or `text<window in ms>` of text that may be joined. */
function makeEntry(id: string, prev: string, name: string, data: Uint8Array): Entry {
  return {
    id: id as EntryId,
    prev: prev as EntryId,
    kind: name === PRODUCER_LOST ? 'producer_lost' : 'message',
    seals: name === END || name === PRODUCER_LOST,
    data,
    coalesceMs: name.startsWith(TEXT) ? Number(name.slice(TEXT.length)) : undefined,
  };
}
