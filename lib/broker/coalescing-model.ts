import { create, fromBinary, type JsonObject, toBinary } from '@bufbuild/protobuf';
import { Phase, type PublishRequest, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import { type ChannelKey, type Entry, MAX_PIECE_BYTES } from './broker.ts';
import { BEFORE_ALL, compareEntryIds, type EntryId } from './entry-id.ts';

/** Coalescing as broker.ts promises it, by the generated code, written without a look at any implementation. */

export interface Text {
  readonly name: string;
  readonly text: string;
}

// The model is asked for the same again and again.
const known = new WeakMap<Uint8Array, Text | undefined>();

export function textDeltaOf(data: Uint8Array): Text | undefined {
  if (!known.has(data)) known.set(data, readTextDelta(data));
  return known.get(data);
}

function readTextDelta(data: Uint8Array): Text | undefined {
  const message = decoded(data);
  const fields = Object.entries(message?.payload ?? {});
  const [name, text] = fields[0] ?? [];
  if (message?.phase !== Phase.DELTA || fields.length !== 1 || name === undefined) return undefined;
  return typeof text === 'string' ? { name, text } : undefined;
}

export function windowOf(data: Uint8Array): number | undefined {
  const message = decoded(data);
  return message?.phase === Phase.START ? message.coalesceWindowMs : undefined;
}

function decoded(data: Uint8Array): PublishRequest | undefined {
  try {
    return fromBinary(PublishRequestSchema, data);
  } catch {
    return undefined;
  }
}

/** The pieces of a snapshot of these entries: text deltas are those that say how long they may wait. */
export function piecesOf(entries: readonly Entry[]): Entry[] {
  const pieces: Entry[] = [];
  for (const entry of entries) {
    const last = pieces.at(-1);
    const joined = last && joinedOf(last, entry);
    if (joined) pieces.splice(-1, 1, joined);
    else pieces.push(entry.coalesceMs === undefined ? entry : { ...entry, data: reduced(entry.data) });
  }
  return pieces;
}

/** What a read after `after` answers of the retained entries and the pieces of the snapshot. */
export function expectedRead(entries: readonly Entry[], pieces: readonly Entry[], after: EntryId): readonly Entry[] {
  const following = entries.filter(({ id }) => compareEntryIds(id, after) > 0);
  // Where one may change from entries to pieces: before the first piece, and after each.
  const places = [pieces[0]?.prev ?? BEFORE_ALL, ...pieces.map(({ id }) => id)];
  const next = places.findIndex((place) => compareEntryIds(place, after) >= 0);
  const place = places[next];
  if (pieces.length === 0 || place === undefined) return following;
  const before = following.filter(({ id }) => compareEntryIds(id, place) <= 0);
  return [...before, ...pieces.slice(next)];
}

/** The bytes of a joined entry have only what the contract says that it has. */
function joinedOf(before: Entry, entry: Entry): Entry | undefined {
  const [a, b] = [textDeltaOf(before.data), textDeltaOf(entry.data)];
  if (before.coalesceMs === undefined || entry.coalesceMs === undefined || a?.name !== b?.name) return undefined;
  const text = `${a?.text}${b?.text}`;
  if (Buffer.byteLength(text) > MAX_PIECE_BYTES) return undefined;
  return { ...entry, prev: before.prev, data: reduced(entry.data, { [b?.name ?? '']: text }) };
}

function reduced(data: Uint8Array, payload?: JsonObject): Uint8Array {
  const { channelId, orgId, messageId, phase, sequence, ...message } = fromBinary(PublishRequestSchema, data);
  const kept = { channelId, orgId, messageId, phase, sequence, payload: payload ?? message.payload ?? {} };
  return toBinary(PublishRequestSchema, create(PublishRequestSchema, kept));
}

export interface TestMessage {
  readonly messageId: string;
  readonly phase: Phase;
  readonly sequence: bigint;
  readonly payload?: JsonObject;
  readonly coalesceWindowMs?: number;
}

/** The bytes of a message of `channel`, as a publisher encodes them. */
export function encodeMessage(channel: ChannelKey, message: TestMessage): Uint8Array {
  const [orgId = '', channelId = ''] = channel.split(':');
  return toBinary(PublishRequestSchema, create(PublishRequestSchema, { ...message, orgId: BigInt(orgId), channelId }));
}
