import { fromBinary } from '@bufbuild/protobuf';
import { type PublishRequest, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import type { Entry } from '#lib/broker/broker.ts';
import type { EntryId } from '#lib/broker/entry-id.ts';
import type { Notice } from '#lib/broker/follow.ts';
import { isUuid } from '#lib/ids/uuid.ts';

const NOTHING = new Uint8Array();

/** An entry apart from what it says. */
export type Place = Pick<Entry, 'id' | 'prev' | 'kind' | 'coalesceMs'>;

/** Several deliveries in one, or what was made of several. */
interface Made {
  readonly place: Place;
  readonly sizeBytes: number;
  readonly parts?: readonly Delivery[];
  readonly message?: PublishRequest;
}

/**
 * An entry on its way to the listeners of a process: decoded once, and encoded once for each wire format, whatever the
 * number of listeners.
 */
export class Delivery {
  /** The last one's, where several are delivered together; and where they are joined, the `prev` of the first. */
  readonly entry: Place;
  /** As it was published; empty where it is made of several. */
  readonly data: Uint8Array;
  /** About what it weighs. */
  readonly sizeBytes: number;
  /** Set where one of several is text that coalesces: see {@link Delivery.steps}. */
  readonly #hasText: boolean;
  readonly #encoded: unknown[] = [];
  readonly #parts: readonly Delivery[] | undefined;
  #message: PublishRequest | undefined;

  constructor(from: Entry | Made) {
    if ('data' in from) {
      this.entry = from;
      this.sizeBytes = from.data.byteLength;
      this.data = from.data;
    } else {
      this.entry = from.place;
      this.data = NOTHING;
      this.sizeBytes = from.sizeBytes;
      this.#parts = from.parts;
      this.#message = from.message;
    }
    this.#hasText = this.#parts?.some(({ entry }) => entry.coalesceMs !== undefined) ?? false;
  }

  /**
   * Its parts where text that coalesces is among them. Who repeats something gets that joined in another way: it must be
   * known of it by itself that it has arrived.
   */
  get steps(): readonly Delivery[] | undefined {
    return this.#hasText ? this.#parts : undefined;
  }

  /** Whether it is text that may come again joined with other text. */
  get isText(): boolean {
    return this.entry.coalesceMs !== undefined && this.#parts === undefined && this.message !== undefined;
  }

  /** Undefined for `producer_lost`, and for bytes that are no valid message: somebody else wrote to the log. */
  get message(): PublishRequest | undefined {
    if (this.#message === undefined && this.entry.kind === 'message') this.#message = decode(this.data);
    return this.#message;
  }

  encodedFor<T>(wire: EntryWire<T>): T {
    const known = this.#encoded[wire.slot] as T | undefined;
    if (known !== undefined) return known;
    const parts = this.#parts;
    const made = parts === undefined ? wire.entry(this) : wire.join(parts.map((part) => part.encodedFor(wire)));
    this.#encoded[wire.slot] = made;
    return made;
  }
}

function decode(data: Uint8Array): PublishRequest | undefined {
  try {
    const message = fromBinary(PublishRequestSchema, data);
    return isUuid(message.messageId) && isUuid(message.channelId) ? message : undefined;
  } catch {
    return undefined;
  }
}

export function concatBytes(chunks: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(chunks);
}

/** What a listener can be told beside messages. */
export type ControlNotice =
  | Notice
  | { readonly type: 'server_draining' }
  | { readonly type: 'producer_lost' }
  | TokenNotice;

/** What a listener is told about its token. Said beside the stream: its cursor stays where it is. */
export interface TokenNotice {
  readonly type: 'token_ending' | 'token_ended' | 'token_revoked';
}

/** Whether a listener's cursor stays where it is, also where whoever tells it does not know the cursor. */
export function leavesCursor({ type }: ControlNotice): boolean {
  return type === 'server_draining' || type.startsWith('token_');
}

/** What all listeners of a channel are sent alike. */
export interface EntryWire<T> {
  /** Its place in a delivery's cache; each wire has its own. */
  readonly slot: number;
  /** A message, or `producer_lost`. */
  entry(delivery: Delivery): T;
  /** Several, one after the other, as one. */
  join(chunks: readonly T[]): T;
}

/** How one face of the stream service spells what it sends. `T` is what its sinks take. */
export interface Wire<T> extends EntryWire<T> {
  /** `cursor` is where the listener stands after it. */
  control(notice: ControlNotice, cursor: EntryId | undefined): T;
  /** Keeps idle connections alive, and shows a client that they are. */
  readonly heartbeat: T;
  /** Goes before everything else, if anything does. */
  readonly opening: T | undefined;
  /** The last words to a listener that should come back after `retryMs` and resume; none where the protocol has them. */
  goodbye(retryMs: number): T | undefined;
}

/** Where a listener's bytes go. */
export interface Sink<T> {
  /** Never blocks. False: more than it likes is waiting; `onDrain` follows. */
  write(chunk: T): boolean;
  /** What was written and not sent yet. */
  readonly waitingBytes: number;
  /** Called once it has sent what was waiting. */
  onDrain: () => void;
  /** Called once, when the other side goes. */
  onGone: () => void;
  /** It went before anybody could be told. */
  readonly isGone: boolean;
  /** Ends well: all that was written arrives first. */
  end(): void;
  /** Ends with an error the protocol can spell, or at once where it has none. */
  fail(reason: 'unavailable' | 'too_slow'): void;
}
