import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import {
  CHANNEL_ID,
  CLIENT_TIMESTAMP,
  COALESCE_WINDOW_MS,
  FIELD_NAME,
  FIELD_VALUE,
  MESSAGE_ID,
  ORG_ID,
  PAYLOAD,
  PHASE,
  SEQUENCE,
  STRUCT_FIELD,
  VALUE_STRING,
} from './message-tags.ts';
import { WireReader } from './wire-reader.ts';

/**
 * What coalescing asks of an encoded PublishRequest, read in place: what the generated code would say at many times the
 * cost, and text-delta.conformance.test.ts holds it against that. Undefined is also the answer for everything that is not
 * of the usual form (fields that are there twice, unknown ones, long names, other encodings of the same): such a message
 * counts as one that can't be joined, which is always right. That strings are UTF-8 is left to whoever takes messages in.
 */

/** Where the bytes of a text delta have the name of its one field, and its text. Ends are exclusive. */
export interface TextDelta {
  readonly nameStart: number;
  readonly nameEnd: number;
  readonly textStart: number;
  readonly textEnd: number;
}

const MAX_WINDOW_MS = 10_000;
/** A name is kept with every piece of a snapshot, beside what counts against its limit. */
export const MAX_NAME_BYTES = 64;

/** Finds the text of a DELTA whose payload is one string. */
export function findTextDelta(data: Uint8Array): TextDelta | undefined {
  if (!readTop(data) || phase !== Phase.DELTA || payloadStart < 0) return undefined;
  const end = payloadEnd;
  reader.at = payloadStart;
  // The payload is one field, the field a name and a value, the value a string: each ends where what it is in ends.
  if (data[reader.at++] !== STRUCT_FIELD || reader.delimitedEnd(data, end) !== end) return undefined;
  if (data[reader.at++] !== FIELD_NAME) return undefined;
  const nameEnd = reader.delimitedEnd(data, end);
  const nameStart = reader.at;
  if (nameEnd < 0 || nameEnd - nameStart > MAX_NAME_BYTES) return undefined;
  reader.at = nameEnd;
  if (data[reader.at++] !== FIELD_VALUE || reader.delimitedEnd(data, end) !== end) return undefined;
  if (data[reader.at++] !== VALUE_STRING || reader.delimitedEnd(data, end) !== end) return undefined;
  return { nameStart, nameEnd, textStart: reader.at, textEnd: end };
}

/** The window that a START declares for the text deltas of its channel. */
export function coalesceWindowMs(data: Uint8Array): number | undefined {
  if (!readTop(data) || phase !== Phase.START) return undefined;
  return windowMs >= 1 && windowMs <= MAX_WINDOW_MS ? windowMs : undefined;
}

const MAX_TAG = COALESCE_WINDOW_MS;

/** Where the scan stands, and what it has found. One for all scans: none is ever interrupted by another. */
const reader = new WireReader();
let phase = 0;
let windowMs = 0;
let payloadStart = -1;
let payloadEnd = -1;

/** Reads the message's own fields, each at most once; false if it is not of the usual form. */
function readTop(data: Uint8Array): boolean {
  const end = data.length;
  let seen = 0;
  reader.at = 0;
  phase = 0;
  windowMs = 0;
  payloadStart = -1;
  while (reader.at < end) {
    const tag = data[reader.at++] as number;
    const field = 1 << (tag >> 3);
    if (tag > MAX_TAG || (seen & field) !== 0) return false;
    seen |= field;
    switch (tag) {
      case CHANNEL_ID:
      case MESSAGE_ID:
        if (!skipDelimited(data, end)) return false;
        break;
      case CLIENT_TIMESTAMP:
        if (!reader.skipTimestamp(data, end)) return false;
        break;
      case PHASE:
        phase = reader.varint(data, end);
        if (phase < 0) return false;
        break;
      case COALESCE_WINDOW_MS:
        windowMs = reader.varint(data, end);
        if (windowMs < 0) return false;
        break;
      case SEQUENCE:
      case ORG_ID:
        if (!reader.skipVarint(data, end)) return false;
        break;
      case PAYLOAD:
        payloadEnd = reader.delimitedEnd(data, end);
        payloadStart = reader.at;
        if (payloadEnd < 0) return false;
        reader.at = payloadEnd;
        break;
      default:
        return false;
    }
  }
  return true;
}

function skipDelimited(data: Uint8Array, end: number): boolean {
  const next = reader.delimitedEnd(data, end);
  reader.at = next;
  return next >= 0;
}
