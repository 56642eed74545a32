import { decode, encode } from '@msgpack/msgpack';

/** A record of the log that could not be handled: whole, with where it was and why. In MessagePack. */
export interface DeadLetter {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly offset: bigint;
  /** For people. Never anything of the record itself. */
  readonly reason: string;
  /** When the record was appended. */
  readonly timestampMs: number;
  readonly key: Uint8Array;
  /** Of a record that leaves no room for all this beside it: its beginning. */
  readonly value: Uint8Array;
  /** How long the record's value was. */
  readonly valueBytes: number;
}

/** What a dead letter adds to a record, at most. */
const OVERHEAD_BYTES = 1024;
const MAX_REASON_LENGTH = 200;

/** What is no dead letter. */
export class MalformedDeadLetterError extends Error {
  override readonly name = 'MalformedDeadLetterError';
}

/** @param maxBytes of a record of the log. */
export function encodeDeadLetter(letter: Omit<DeadLetter, 'valueBytes'>, maxBytes: number): Uint8Array {
  // The key is kept twice, as the dead letter's own key, too.
  const room = maxBytes - OVERHEAD_BYTES - 2 * letter.key.byteLength;
  return encode({
    topic: letter.topic,
    topic_id: letter.topicId,
    partition: letter.partition,
    // More than MessagePack's readers in JavaScript take as a number.
    offset: String(letter.offset),
    reason: letter.reason.slice(0, MAX_REASON_LENGTH),
    time_ms: letter.timestampMs,
    key: letter.key,
    value: letter.value.byteLength > room ? letter.value.subarray(0, Math.max(room, 0)) : letter.value,
    value_bytes: letter.value.byteLength,
  });
}

/** @throws MalformedDeadLetterError */
export function decodeDeadLetter(bytes: Uint8Array): DeadLetter {
  const map = mapOf(bytes);
  const offset = text(map, 'offset');
  if (!/^\d{1,19}$/.test(offset)) throw new MalformedDeadLetterError('offset is no number');
  return {
    topic: text(map, 'topic'),
    topicId: text(map, 'topic_id'),
    partition: count(map, 'partition'),
    offset: BigInt(offset),
    reason: text(map, 'reason'),
    timestampMs: count(map, 'time_ms'),
    key: bytesOf(map, 'key'),
    value: bytesOf(map, 'value'),
    valueBytes: count(map, 'value_bytes'),
  };
}

function mapOf(bytes: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    value = decode(bytes);
  } catch (cause) {
    throw new MalformedDeadLetterError('not MessagePack', { cause });
  }
  if (typeof value !== 'object' || value === null) throw new MalformedDeadLetterError('not a map');
  return value as Record<string, unknown>;
}

function text(map: Record<string, unknown>, name: string): string {
  const value = map[name];
  if (typeof value !== 'string') throw new MalformedDeadLetterError(`${name} is no text`);
  return value;
}

function count(map: Record<string, unknown>, name: string): number {
  const value = map[name];
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new MalformedDeadLetterError(`${name} is no number`);
  return value as number;
}

function bytesOf(map: Record<string, unknown>, name: string): Uint8Array {
  const value = map[name];
  if (!(value instanceof Uint8Array)) throw new MalformedDeadLetterError(`${name} are no bytes`);
  return value;
}
