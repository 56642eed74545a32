import { BinaryReader } from '@bufbuild/protobuf/wire';
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
  if (entry.kind === 'message') {
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
  const reader = new PayloadReader(data);
  reader.pos = payloadStart;
  const payload = payloadStart === 0 ? 'null' : reader.struct(payloadEnd);
  return payload === undefined ? undefined : spell(messageId, channelId, phase, sequence, payload);
}

/** More would be looked through for each name. */
const MAX_FIELDS = 32;

/** Spells what was scanned before. Undefined where an object would have its fields in another order, or fewer. */
class PayloadReader extends BinaryReader {
  readonly #data: Buffer;

  constructor(data: Buffer) {
    super(data);
    this.#data = data;
  }

  struct(end: number): string | undefined {
    let json = '';
    const names: string[] = [];
    while (this.pos < end) {
      this.#skipTagAndLength();
      this.uint32();
      const name = this.#text();
      if (isMoved(name) || names.includes(name) || names.length === MAX_FIELDS) return undefined;
      names.push(name);
      this.#skipTagAndLength();
      const value = this.#value();
      if (value === undefined) return undefined;
      json += json === '' ? `${name}:${value}` : `,${name}:${value}`;
    }
    return `{${json}}`;
  }

  #list(end: number): string | undefined {
    let json = '';
    while (this.pos < end) {
      this.#skipTagAndLength();
      const value = this.#value();
      if (value === undefined) return undefined;
      json += json === '' ? value : `,${value}`;
    }
    return `[${json}]`;
  }

  #value(): string | undefined {
    switch (this.uint32()) {
      case VALUE_NULL:
        this.uint32();
        return 'null';
      case VALUE_NUMBER:
        return JSON.stringify(this.double());
      case VALUE_STRING:
        return this.#text();
      case VALUE_BOOL:
        return this.bool() ? 'true' : 'false';
      case VALUE_LIST:
        return this.#list(this.#end());
      default:
        return this.struct(this.#end());
    }
  }

  /** As JSON, in quotes. */
  #text(): string {
    const end = this.#end();
    const start = this.pos;
    this.pos = end;
    return isPlain(this.#data, start, end)
      ? `"${this.#data.toString('latin1', start, end)}"`
      : JSON.stringify(this.#data.toString('utf8', start, end));
  }

  #skipTagAndLength(): void {
    this.uint32();
    this.uint32();
  }

  /** Reads a length, and answers where what has it ends. */
  #end(): number {
    const length = this.uint32();
    return this.pos + length;
  }
}

const DIGIT_0 = 0x30;
const DIGIT_9 = 0x39;

/** In quotes. An object has what looks like an index before all else, and its prototype nowhere. */
function isMoved(name: string): boolean {
  const first = name.charCodeAt(1);
  return (first >= DIGIT_0 && first <= DIGIT_9) || name === '"__proto__"';
}

/** Up to about here a loop is faster than what is made for text of any length. */
const SHORT_TEXT_BYTES = 64;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Whether it is its own JSON, as far as that is quickly seen. */
function isPlain(data: Buffer, start: number, end: number): boolean {
  if (end - start > SHORT_TEXT_BYTES) return false;
  for (let n = start; n < end; n++) {
    const byte = data[n] as number;
    if (byte < 0x20 || byte > 0x7e || byte === QUOTE || byte === BACKSLASH) return false;
  }
  return true;
}
