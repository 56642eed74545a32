import { fromBinary } from '@bufbuild/protobuf';
import { type PublishRequest, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import type { Entry } from '#lib/broker/broker.ts';
import type { EntryId } from '#lib/broker/entry-id.ts';
import type { Notice } from '#lib/broker/follow.ts';
import { isUuid } from '#lib/ids/uuid.ts';

/** Deliveries that are written together, up to about this: what a slow listener is cut at is far above it. */
const MAX_TOGETHER_BYTES = 64 * 1024;

/**
 * An entry on its way to the listeners of a process: decoded once, and encoded once for each wire format, whatever the
 * number of listeners.
 */
export class Delivery {
  /** The last one, where several are delivered together. */
  readonly entry: Entry;
  readonly #encoded: unknown[] = [];
  readonly #parts: readonly Delivery[] | undefined;
  #message: PublishRequest | undefined;

  constructor(entry: Entry, parts?: readonly Delivery[]) {
    this.entry = entry;
    this.#parts = parts;
  }

  /** The same deliveries in as few writes as is good for their readers. */
  static together(deliveries: readonly Delivery[]): Delivery[] {
    const made: Delivery[] = [];
    let parts: Delivery[] = [];
    let sizeBytes = 0;
    const close = () => {
      const last = parts.at(-1);
      if (last !== undefined) made.push(parts.length === 1 ? last : new Delivery(last.entry, parts));
      parts = [];
      sizeBytes = 0;
    };
    for (const delivery of deliveries) {
      if (sizeBytes + delivery.entry.data.byteLength > MAX_TOGETHER_BYTES) close();
      parts.push(delivery);
      sizeBytes += delivery.entry.data.byteLength;
    }
    close();
    return made;
  }

  /** Undefined for `producer_lost`, and for bytes that are no valid message: somebody else wrote to the log. */
  get message(): PublishRequest | undefined {
    if (this.#message === undefined && this.entry.kind === 'message') this.#message = decode(this.entry.data);
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
