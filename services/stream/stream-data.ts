import { PhaseSchema, type PublishRequest } from '#gen/tideway/stream/v1/message_pb.ts';
import { VALUE_BOOL, VALUE_LIST, VALUE_NULL, VALUE_NUMBER, VALUE_STRING } from '#lib/broker/message-tags.ts';
import { scanMessage } from '#lib/broker/scan-message.ts';
import type { Delivery } from './delivery.ts';

/**
 * A message as Conduit's events have it, in JSON; undefined for what is no valid message. One of the usual form is read in
 * place: decoded first, the same takes several times as long, and that once for each message of each process.
 * stream-data.conformance.test.ts holds the two against each other.
 */
export function streamDataOf(delivery: Delivery): string | undefined {
  const { data, entry } = delivery;
  if (entry.kind === 'message' && data.byteLength > 0) {
    const read = readStreamData(Buffer.from(data.buffer, data.byteOffset, data.byteLength));
    if (read !== undefined) return read;
  }
  const { message } = delivery;
  return message === undefined ? undefined : streamData(message);
}

const phaseNames = new Map<number, string>(PhaseSchema.values.map(({ number, name }) => [number, name]));

export function streamData({ messageId, channelId, phase, sequence, payload }: PublishRequest): string {
  return spell(messageId.toLowerCase(), channelId.toLowerCase(), phase, sequence, JSON.stringify(payload ?? null));
}

/** By hand, as a uint64 sequence is a JSON number with all its digits, which JSON.stringify has no way to write. */
function spell(messageId: string, channelId: string, phase: number, sequence: bigint, payload: string): string {
  return (
    `{"event_type":"stream","message_id":"${messageId}"` +
    `,"channel_id":"${channelId}","phase":"${phaseNames.get(phase)}"` +
    `,"sequence":${sequence},"payload":${payload}}`
  );
}

/** Undefined says nothing about the message but that it is not of the usual form. */
export function readStreamData(data: Buffer): string | undefined {
  const scanned = scanMessage(data);
  if (scanned === undefined) return undefined;
  const { messageId, channelId, phase, sequence, payloadStart, payloadEnd } = scanned;
  at = payloadStart;
  const payload = payloadStart === 0 ? 'null' : readStruct(data, payloadEnd);
  return payload === undefined ? undefined : spell(messageId, channelId, phase, sequence, payload);
}

/** Where the reading stands. One for all: none is ever interrupted by another. What is read was scanned before. */
let at = 0;

/** Undefined where an object would have its fields in another order, or fewer. */
function readStruct(data: Buffer, end: number): string | undefined {
  let json = '';
  const names: string[] = [];
  while (at < end) {
    skipTagAndLength(data);
    at++;
    const name = readText(data);
    if (isMoved(name) || names.includes(name) || names.length === MAX_FIELDS) return undefined;
    names.push(name);
    skipTagAndLength(data);
    const value = readValue(data);
    if (value === undefined) return undefined;
    json += json === '' ? `${name}:${value}` : `,${name}:${value}`;
  }
  return `{${json}}`;
}

/** More would be looked through for each name. */
const MAX_FIELDS = 32;

/** In quotes. An object has what looks like an index before all else, and its prototype nowhere. */
function isMoved(name: string): boolean {
  const first = name.charCodeAt(1);
  return (first >= DIGIT_0 && first <= DIGIT_9) || name === '"__proto__"';
}

const DIGIT_0 = 0x30;
const DIGIT_9 = 0x39;

function readList(data: Buffer, end: number): string | undefined {
  let json = '';
  while (at < end) {
    skipTagAndLength(data);
    const value = readValue(data);
    if (value === undefined) return undefined;
    json += json === '' ? value : `,${value}`;
  }
  return `[${json}]`;
}

function readValue(data: Buffer): string | undefined {
  switch (data[at++]) {
    case VALUE_NULL:
      readVarint(data);
      return 'null';
    case VALUE_NUMBER:
      at += 8;
      return JSON.stringify(data.readDoubleLE(at - 8));
    case VALUE_STRING:
      return readText(data);
    case VALUE_BOOL:
      return readVarint(data) === 1 ? 'true' : 'false';
    case VALUE_LIST:
      return readList(data, readEnd(data));
    default:
      return readStruct(data, readEnd(data));
  }
}

/** Up to about here a loop is faster than what is made for text of any length. */
const SHORT_TEXT_BYTES = 64;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** As JSON, in quotes. */
function readText(data: Buffer): string {
  const end = readEnd(data);
  const start = at;
  at = end;
  if (end - start > SHORT_TEXT_BYTES) return JSON.stringify(data.toString('utf8', start, end));
  for (let n = start; n < end; n++) {
    const byte = data[n] as number;
    if (byte < 0x20 || byte > 0x7e || byte === QUOTE || byte === BACKSLASH) {
      return JSON.stringify(data.toString('utf8', start, end));
    }
  }
  return `"${data.toString('latin1', start, end)}"`;
}

function skipTagAndLength(data: Buffer): void {
  at++;
  readVarint(data);
}

/** Reads a length, and answers where what has it ends. */
function readEnd(data: Buffer): number {
  const length = readVarint(data);
  return at + length;
}

function readVarint(data: Buffer): number {
  let value = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = data[at++] as number;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
}
