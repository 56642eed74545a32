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
  at = payloadStart;
  // The payload is one field, the field a name and a value, the value a string: each ends where what it is in ends.
  if (data[at++] !== STRUCT_FIELD || readLength(data, end) !== end || data[at++] !== FIELD_NAME) return undefined;
  const nameEnd = readLength(data, end);
  const nameStart = at;
  at = nameEnd;
  if (
    nameEnd < 0 ||
    nameEnd - nameStart > MAX_NAME_BYTES ||
    data[at++] !== FIELD_VALUE ||
    readLength(data, end) !== end
  )
    return undefined;
  if (data[at++] !== VALUE_STRING || readLength(data, end) !== end) return undefined;
  return { nameStart, nameEnd, textStart: at, textEnd: end };
}

/** The window that a START declares for the text deltas of its channel. */
export function coalesceWindowMs(data: Uint8Array): number | undefined {
  if (!readTop(data) || phase !== Phase.START) return undefined;
  return windowMs >= 1 && windowMs <= MAX_WINDOW_MS ? windowMs : undefined;
}

const MAX_TAG = COALESCE_WINDOW_MS;

/** Where the scan stands, and what it has found. One for all scans: none is ever interrupted by another. */
let at = 0;
let phase = 0;
let windowMs = 0;
let payloadStart = -1;
let payloadEnd = -1;

/** Reads the message's own fields, each at most once; false if it is not of the usual form. */
function readTop(data: Uint8Array): boolean {
  const end = data.length;
  let seen = 0;
  at = 0;
  phase = 0;
  windowMs = 0;
  payloadStart = -1;
  while (at < end) {
    const tag = data[at++] as number;
    const field = 1 << (tag >> 3);
    if (tag > MAX_TAG || (seen & field) !== 0) return false;
    seen |= field;
    switch (tag) {
      case CHANNEL_ID:
      case MESSAGE_ID:
      case CLIENT_TIMESTAMP:
        at = readLength(data, end);
        if (at < 0) return false;
        break;
      case PHASE:
        phase = readSmall(data, end);
        break;
      case COALESCE_WINDOW_MS:
        windowMs = readSmall(data, end);
        break;
      case SEQUENCE:
      case ORG_ID:
        if (!skipVarint(data, end)) return false;
        break;
      case PAYLOAD:
        payloadEnd = readLength(data, end);
        payloadStart = at;
        at = payloadEnd;
        if (at < 0) return false;
        break;
      default:
        return false;
    }
    if (at < 0) return false;
  }
  return true;
}

/** Reads a length and answers where what has it ends, or -1. What is longer than 2 MiB is not of the usual form. */
function readLength(data: Uint8Array, end: number): number {
  const length = readSmall(data, end);
  return at < 0 || length > end - at ? -1 : at + length;
}

/** A number below 2^21; a longer one leaves the scan at -1. */
function readSmall(data: Uint8Array, end: number): number {
  let value = 0;
  for (let shift = 0; shift < 21 && at >= 0 && at < end; shift += 7) {
    const byte = data[at++] as number;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  at = -1;
  return 0;
}

function skipVarint(data: Uint8Array, end: number): boolean {
  for (let length = 0; length < 10 && at < end; length++) {
    if ((data[at++] as number) < 0x80) return true;
  }
  return false;
}
