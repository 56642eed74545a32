import { create, toBinary } from '@bufbuild/protobuf';
import { Phase, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import { digitsOf, MARK } from './time-mark.ts';

const CHANNEL_ID = '00000000-0000-4000-8000-0000000000cc';
const MESSAGE_ID = '00000000-0000-4000-8000-0000000000aa';
/** Sequences that all are four bytes of a varint. */
const FIRST_SEQUENCE = 2 ** 21;
const SEQUENCES = 2 ** 27;

/**
 * A message as the generated code encodes it, of which each one that is sent is a copy with other ids, sequence and time in
 * the same places: encoding each would cost the publisher more than it costs the server to take it.
 */
export class MessageTemplate {
  readonly bytes: Buffer;
  readonly #channelAt: number;
  readonly #messageAt: number;
  readonly #sequenceAt: number;
  readonly #timeAt: number;
  /** So that messages of several processes differ. */
  readonly #random = crypto.randomUUID().slice(0, 24);
  #count = 0;

  /** `wrap` puts it into what it is sent in. */
  constructor(orgId: number, fillerBytes: number, wrap: (message: Uint8Array) => Uint8Array) {
    const message = create(PublishRequestSchema, {
      channelId: CHANNEL_ID,
      messageId: MESSAGE_ID,
      clientTimestamp: { seconds: BigInt(Math.floor(Date.now() / 1000)) },
      phase: Phase.DELTA,
      sequence: BigInt(FIRST_SEQUENCE),
      payload: { t: MARK + digitsOf(0), d: 'x'.repeat(fillerBytes) },
      orgId: BigInt(orgId),
    });
    this.bytes = Buffer.from(wrap(toBinary(PublishRequestSchema, message)));
    this.#channelAt = this.bytes.indexOf(CHANNEL_ID);
    this.#messageAt = this.bytes.indexOf(MESSAGE_ID);
    this.#timeAt = this.bytes.indexOf(MARK) + MARK.length;
    // The field's tag and the four bytes of its value.
    this.#sequenceAt = this.bytes.indexOf(Buffer.from([5 << 3, 0x80, 0x80, 0x80, 0x01])) + 1;
  }

  /** Writes the next message over `target`, which has a copy of the template at `offset`. */
  fill(target: Buffer, offset: number, channelId: string, timeUs: number): void {
    const count = this.#count++;
    target.write(channelId, offset + this.#channelAt, 'latin1');
    target.write(this.#random + count.toString(16).padStart(12, '0'), offset + this.#messageAt, 'latin1');
    target.write(digitsOf(timeUs), offset + this.#timeAt, 'latin1');
    const sequence = FIRST_SEQUENCE + (count % SEQUENCES);
    for (let n = 0; n < 4; n++) {
      target[offset + this.#sequenceAt + n] = ((sequence >>> (7 * n)) & 127) | (n < 3 ? 128 : 0);
    }
  }
}

/** A field of bytes or a message, as protobuf has it: its tag, its length, and it. */
export function lengthDelimited(fieldNumber: number, bytes: Uint8Array): Buffer {
  const head = [(fieldNumber << 3) | 2];
  let rest = bytes.length;
  for (; rest >= 128; rest = Math.floor(rest / 128)) head.push((rest % 128) | 128);
  head.push(rest);
  return Buffer.concat([Buffer.from(head), bytes]);
}
