import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import type { Entry, NewMessage } from './broker.ts';
import type { EntryId } from './entry-id.ts';

/** How an entry is called where it is spelled out: `end` is a message that seals. */
export type EntryName = 'message' | 'end' | 'producer_lost';

export function entryName(message: NewMessage): EntryName {
  return message.phase === Phase.END ? 'end' : 'message';
}

const SPACE = 0x20;
const PRODUCER_LOST = 'producer_lost';
const END_KEY = new RegExp(`/${Phase.END}/`);

/** Reads an entry of the log: the fields `prev`, `key` and `data`. */
export function parseLogEntry(id: Buffer, fields: readonly Buffer[]): Entry {
  const [, prev, , key, , data] = fields;
  if (!prev || !key || !data) throw new Error('the log has an entry that is not ours');
  const name = key.toString('latin1');
  const lost = name === PRODUCER_LOST;
  return makeEntry(id.toString('latin1'), prev.toString('latin1'), lost, lost || END_KEY.test(name), data);
}

/** Reads what is published to live readers, `<id> <prev> <name> <data>`; undefined if it is something else. */
export function parseLiveEntry(message: Buffer): Entry | undefined {
  const first = message.indexOf(SPACE);
  const second = message.indexOf(SPACE, first + 1);
  const third = message.indexOf(SPACE, second + 1);
  if (first < 0 || second < 0 || third < 0) return undefined;
  const name = message.toString('latin1', second + 1, third);
  const lost = name === PRODUCER_LOST;
  const id = message.toString('latin1', 0, first);
  const prev = message.toString('latin1', first + 1, second);
  return makeEntry(id, prev, lost, name !== 'message', message.subarray(third + 1));
}

function makeEntry(id: string, prev: string, lost: boolean, seals: boolean, data: Buffer): Entry {
  return { id: id as EntryId, prev: prev as EntryId, kind: lost ? 'producer_lost' : 'message', seals, data };
}
