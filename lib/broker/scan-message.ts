import { isUtf8 } from 'node:buffer';
import type { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import {
  CHANNEL_ID,
  CLIENT_TIMESTAMP,
  FIELD_NAME,
  FIELD_VALUE,
  LIST_VALUE,
  MESSAGE_ID,
  ORG_ID,
  PAYLOAD,
  PHASE,
  SEQUENCE,
  STRUCT_FIELD,
  VALUE_BOOL,
  VALUE_LIST,
  VALUE_NULL,
  VALUE_NUMBER,
  VALUE_STRING,
  VALUE_STRUCT,
} from './message-tags.ts';
import { WireReader } from './wire-reader.ts';

/** What protobuf readers with the usual limit of 100 nested messages can read: a level of a Struct takes three. */
export const MAX_PAYLOAD_DEPTH = 32;

/** What of a message decides where it goes, and whether it is stored. */
export interface MessageHead {
  readonly orgId: bigint;
  /** In lower case. */
  readonly channelId: string;
  /** In lower case. */
  readonly messageId: string;
  readonly phase: Phase;
  readonly sequence: bigint;
}

export interface ScannedMessage extends MessageHead {
  /** Where its bytes have the payload, a Struct; 0 without one. Exclusive at its end. */
  readonly payloadStart: number;
  readonly payloadEnd: number;
}

/**
 * Reads a PublishRequest in place, between `start` and `end`. What it answers, the generated code, the contract's rules
 * and the payload's limits would have said as well, at several times the cost; scan-message.conformance.test.ts holds it against
 * them. Of the rules only org_id's is left to the caller, 0 where there is none: on the HTTP route the URL names it.
 *
 * Undefined says nothing about the message but that it is not of the usual form: whoever is answered so decodes it. That
 * is so for everything that is wrong, and for everything rare: fields that are there twice, unknown ones, other encodings
 * of the same. So no error is worded here, and nothing has to be read here as others read it.
 */
export function scanMessage(data: Buffer, start = 0, end = data.length): ScannedMessage | undefined {
  let channelAt = -1;
  let messageAt = -1;
  let phase = -1;
  let sequence = -1;
  let orgId = -1;
  let hasTimestamp = false;
  let payloadStart = 0;
  let payloadEnd = 0;
  reader.at = start;
  while (reader.at < end) {
    switch (data[reader.at++]) {
      case CHANNEL_ID:
        if (channelAt >= 0 || !skipUuid(data, end)) return undefined;
        channelAt = reader.at - UUID_LENGTH;
        break;
      case MESSAGE_ID:
        if (messageAt >= 0 || !skipUuid(data, end)) return undefined;
        messageAt = reader.at - UUID_LENGTH;
        break;
      case CLIENT_TIMESTAMP:
        if (hasTimestamp || !reader.skipTimestamp(data, end)) return undefined;
        hasTimestamp = true;
        break;
      case PHASE:
        if (phase >= 0) return undefined;
        phase = reader.varint(data, end);
        if (phase < 1 || phase > 4) return undefined;
        break;
      case SEQUENCE:
        if (sequence >= 0) return undefined;
        sequence = reader.varint(data, end);
        if (sequence < 0) return undefined;
        break;
      case PAYLOAD: {
        if (payloadStart > 0) return undefined;
        payloadEnd = reader.delimitedEnd(data, end);
        payloadStart = reader.at;
        if (payloadEnd < 0 || !skipStruct(data, payloadEnd, 1)) return undefined;
        break;
      }
      case ORG_ID:
        if (orgId >= 0) return undefined;
        orgId = reader.varint(data, end);
        if (orgId < 0) return undefined;
        break;
      default:
        return undefined;
    }
  }
  if (channelAt < 0 || messageAt < 0 || phase < 0) return undefined;
  return {
    channelId: data.toString('latin1', channelAt, channelAt + UUID_LENGTH).toLowerCase(),
    messageId: data.toString('latin1', messageAt, messageAt + UUID_LENGTH).toLowerCase(),
    phase: phase as Phase,
    sequence: BigInt(Math.max(sequence, 0)),
    orgId: BigInt(Math.max(orgId, 0)),
    payloadStart,
    payloadEnd,
  };
}

const UUID_LENGTH = 36;
const HYPHEN = 0x2d;
/** Up to about here a loop is faster than a call out of JavaScript. */
const SHORT_TEXT_BYTES = 48;

const HEX = new Uint8Array(256);
for (const digit of '0123456789abcdefABCDEF') HEX[digit.charCodeAt(0)] = 1;

/** One for all scans: none is ever interrupted by another. */
const reader = new WireReader();

function skipUuid(data: Buffer, end: number): boolean {
  if (reader.at + 1 + UUID_LENGTH > end) return false;
  if (data[reader.at++] !== UUID_LENGTH) return false;
  for (let n = 0; n < UUID_LENGTH; n++) {
    const byte = data[reader.at++] as number;
    if (n === 8 || n === 13 || n === 18 || n === 23) {
      if (byte !== HYPHEN) return false;
    } else if (HEX[byte] === 0) return false;
  }
  return true;
}

function skipStruct(data: Buffer, end: number, depth: number): boolean {
  if (depth > MAX_PAYLOAD_DEPTH) return false;
  while (reader.at < end) {
    if (data[reader.at++] !== STRUCT_FIELD) return false;
    const fieldEnd = reader.delimitedEnd(data, end);
    if (fieldEnd < 0 || reader.at >= fieldEnd || data[reader.at++] !== FIELD_NAME || !skipText(data, fieldEnd))
      return false;
    if (reader.at >= fieldEnd || data[reader.at++] !== FIELD_VALUE) return false;
    if (reader.delimitedEnd(data, fieldEnd) !== fieldEnd || !skipValue(data, fieldEnd, depth + 1)) return false;
  }
  return true;
}

function skipList(data: Buffer, end: number, depth: number): boolean {
  if (depth > MAX_PAYLOAD_DEPTH) return false;
  while (reader.at < end) {
    if (data[reader.at++] !== LIST_VALUE) return false;
    const valueEnd = reader.delimitedEnd(data, end);
    if (valueEnd < 0 || !skipValue(data, valueEnd, depth + 1)) return false;
  }
  return true;
}

/** `depth` is that of a struct or list in its place. A value without a kind, or with two, is not of the usual form. */
function skipValue(data: Buffer, end: number, depth: number): boolean {
  if (reader.at >= end) return false;
  switch (data[reader.at++]) {
    case VALUE_NULL:
      return reader.varint(data, end) === 0 && reader.at === end;
    case VALUE_NUMBER:
      reader.at += 8;
      // All bits of the exponent: infinity, or not a number.
      return (
        reader.at === end &&
        !(((data[reader.at - 1] as number) & 0x7f) === 0x7f && (data[reader.at - 2] as number) >= 0xf0)
      );
    case VALUE_STRING:
      return skipText(data, end) && reader.at === end;
    case VALUE_BOOL: {
      const value = reader.varint(data, end);
      return (value === 0 || value === 1) && reader.at === end;
    }
    case VALUE_STRUCT:
      return reader.delimitedEnd(data, end) === end && skipStruct(data, end, depth);
    case VALUE_LIST:
      return reader.delimitedEnd(data, end) === end && skipList(data, end, depth);
    default:
      return false;
  }
}

function skipText(data: Buffer, outerEnd: number): boolean {
  const end = reader.delimitedEnd(data, outerEnd);
  if (end < 0) return false;
  const start = reader.at;
  reader.at = end;
  if (end - start <= SHORT_TEXT_BYTES) {
    let n = start;
    while (n < end && (data[n] as number) < 0x80) n++;
    if (n === end) return true;
  }
  return isUtf8(data.subarray(start, end));
}
