import type { UnknownField } from '@bufbuild/protobuf';
import { WireType } from '@bufbuild/protobuf/wire';
import {
  GetProjectConfigsResponseSchema,
  type KeyAnswer,
  KeyAnswerSchema,
} from '#gen/tideway/config/v1/config_service_pb.ts';

export type Flag = Exclude<KeyAnswer['answer']['case'], 'config' | undefined>;

/** Of one answer in the room that is made at first. */
const ANSWER_BYTES_GUESS = 128;
const MAX_VARINT_BYTES = 5;

/**
 * The answers of a response in protobuf, written one behind the other into one buffer. Configs are cached encoded, so
 * nothing is decoded to be encoded again, and nothing is made for each key: at 500 keys a call, what the collector has to
 * do with such things is what callers wait for.
 */
export class EncodedAnswers {
  #buffer: Buffer;
  #end = 0;

  constructor(count: number) {
    this.#buffer = Buffer.allocUnsafe(count * ANSWER_BYTES_GUESS);
  }

  config(publicKey: string, bytes: Uint8Array): void {
    this.#begin(publicKey, TAGS.config, varintBytes(bytes.byteLength) + bytes.byteLength);
    this.#varint(bytes.byteLength);
    this.#buffer.set(bytes, this.#end);
    this.#end += bytes.byteLength;
  }

  flag(publicKey: string, name: Flag): void {
    this.#begin(publicKey, TAGS[name], 1);
    this.#varint(1);
  }

  /**
   * For `$unknown` of the response. Protobuf's writer writes the number of such a field and then its data as it is, so the
   * data goes on to where the next one begins.
   */
  field(): UnknownField | undefined {
    if (this.#end === 0) return undefined;
    const { number } = GetProjectConfigsResponseSchema.field.answers;
    const data = this.#buffer.subarray(varintBytes(TAGS.answers), this.#end);
    return { no: number, wireType: WireType.LengthDelimited, data };
  }

  /** All of an answer but the last `restBytes`, for which there is room then. */
  #begin(publicKey: string, tag: number, restBytes: number): void {
    const keyBytes = Buffer.byteLength(publicKey);
    // As the contract has it, what is empty is not sent.
    const keyFieldBytes = keyBytes === 0 ? 0 : varintBytes(TAGS.publicKey) + varintBytes(keyBytes) + keyBytes;
    const answerBytes = keyFieldBytes + varintBytes(tag) + restBytes;
    this.#makeRoom(2 * MAX_VARINT_BYTES + answerBytes);
    this.#varint(TAGS.answers);
    this.#varint(answerBytes);
    if (keyBytes > 0) {
      this.#varint(TAGS.publicKey);
      this.#varint(keyBytes);
      this.#end += this.#buffer.write(publicKey, this.#end);
    }
    this.#varint(tag);
  }

  #varint(value: number): void {
    let left = value;
    for (; left > 0x7f; left >>>= 7) this.#buffer[this.#end++] = (left & 0x7f) | 0x80;
    this.#buffer[this.#end++] = left;
  }

  #makeRoom(bytes: number): void {
    if (this.#end + bytes <= this.#buffer.byteLength) return;
    const larger = Buffer.allocUnsafe(2 * (this.#end + bytes));
    larger.set(this.#buffer.subarray(0, this.#end));
    this.#buffer = larger;
  }
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let left = value; left > 0x7f; left >>>= 7) bytes += 1;
  return bytes;
}

const { answers } = GetProjectConfigsResponseSchema.field;
const { publicKey, config, unchanged, pending, disabled, unavailable } = KeyAnswerSchema.field;
const tagOf = (number: number, wireType: WireType) => (number << 3) | wireType;
const TAGS = {
  answers: tagOf(answers.number, WireType.LengthDelimited),
  publicKey: tagOf(publicKey.number, WireType.LengthDelimited),
  config: tagOf(config.number, WireType.LengthDelimited),
  unchanged: tagOf(unchanged.number, WireType.Varint),
  pending: tagOf(pending.number, WireType.Varint),
  disabled: tagOf(disabled.number, WireType.Varint),
  unavailable: tagOf(unavailable.number, WireType.Varint),
};
