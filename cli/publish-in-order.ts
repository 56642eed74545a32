import { type Client, Code, ConnectError } from '@connectrpc/connect';
import type { Status } from '#gen/google/rpc/status_pb.ts';
import type { PublishRequest } from '#gen/tideway/stream/v1/message_pb.ts';
import type {
  PublishResponse,
  PublishService,
  PublishStreamRequest,
  PublishStreamResponse,
} from '#gen/tideway/stream/v1/publish_service_pb.ts';
import type { Backoff } from './backoff.ts';
import { bearer } from './edge.ts';
import { isUnreachable } from './failure.ts';
import { Outbox } from './outbox.ts';
import { type OutageListener, waitOrThrow } from './retry.ts';

export interface PublishInOrderOptions {
  readonly token: string | undefined;
  /** Bounds the time without an acknowledgement. */
  readonly backoff: Backoff;
  readonly listener: OutageListener;
  /** A listener wants the stream to stop. Once a call; after another call begins, again. */
  readonly onCancelled?: (reason: string) => void;
}

/**
 * Publishes the messages of one channel over PublishStream and yields the acknowledgement of each, in order. A call that
 * breaks, ends or is refused for a reason that passes is followed by another, which begins with the first message that
 * has no acknowledgement: under their old message ids, so each is stored once, and in order, because every call carries
 * them in the same order. Reads at most {@link MAX_UNACKNOWLEDGED} messages ahead, and less while the server slows down.
 *
 * @throws ConnectError what refused a message for good, or the last failure when the backoff's budget is spent; at once
 * if nothing listens at the address and never has. What the source throws, after what came before it is acknowledged.
 */
export async function* publishInOrder(
  client: Pick<Client<typeof PublishService>, 'publishStream'>,
  messages: AsyncIterable<PublishRequest>,
  { token, backoff, listener, onCancelled }: PublishInOrderOptions,
): AsyncGenerator<PublishResponse> {
  const outbox = new Outbox(messages, MAX_UNACKNOWLEDGED);
  let reached = false;

  while ((await outbox.at(outbox.acknowledged)) !== undefined) {
    const call = new Call(outbox);
    let failure = new ConnectError('the call ended early', Code.Unavailable);
    try {
      const responses = client.publishStream(call.requests(), { ...bearer(token), signal: call.signal });
      for await (const response of responses) {
        // It answers no message.
        if (response.result.case === 'cancelled') {
          onCancelled?.(response.result.value.reason);
          continue;
        }
        const published = call.acknowledged(response);
        reached = true;
        if (backoff.failing) listener.onRecovery();
        backoff.succeeded();
        yield published;
      }
    } catch (thrown) {
      failure = call.overdue ?? ConnectError.from(thrown);
    } finally {
      call.end();
    }
    // A call that ended while it had nothing to carry is no loss: the next message opens another.
    if (outbox.unacknowledged === 0) continue;
    if (isUnreachable(failure) && !reached) throw failure;
    await waitOrThrow(failure, backoff, listener);
  }
  if (outbox.failure !== undefined) throw outbox.failure;
}

/** How many messages may be under way. */
export const MAX_UNACKNOWLEDGED = 64;

/** A call on which nothing is acknowledged for so long is given up. */
const ACKNOWLEDGE_WITHIN_MS = 15_000;

/** One PublishStream call: what was sent on it, and whether answers come. */
class Call {
  readonly #outbox: Outbox<PublishRequest>;
  readonly #abort = new AbortController();
  readonly #watch: NodeJS.Timeout;
  readonly #first: number;
  /** The position of the next message to send. */
  #next: number;
  #waitingSinceMs = 0;
  overdue: ConnectError | undefined;

  constructor(outbox: Outbox<PublishRequest>) {
    this.#outbox = outbox;
    this.#first = outbox.acknowledged;
    this.#next = this.#first;
    this.#watch = setInterval(() => this.#check(), 1_000);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  async *requests(): AsyncGenerator<Pick<PublishStreamRequest, '$typeName' | 'message'>> {
    for (;;) {
      const message = await this.#outbox.at(this.#next, this.signal);
      if (!message) return;
      if (!this.#waiting) this.#waitingSinceMs = performance.now();
      this.#next++;
      yield { $typeName: 'tideway.stream.v1.PublishStreamRequest', message };
    }
  }

  /** Takes the oldest message out of the outbox, or throws why the server did not take it. */
  acknowledged({ position, result }: PublishStreamResponse): PublishResponse {
    const due = BigInt(this.#outbox.acknowledged - this.#first);
    if (position !== due || result.case === undefined || result.case === 'cancelled') {
      throw new ConnectError(`answer ${position} where ${due} was due`, Code.DataLoss);
    }
    // The first refusal ends the call: until this message is sent again the server takes none of those behind it.
    if (result.case === 'error') throw errorFromStatus(result.value);
    this.#waitingSinceMs = performance.now();
    this.#outbox.acknowledge();
    return result.value;
  }

  end(): void {
    clearInterval(this.#watch);
    this.#abort.abort();
  }

  /** True if something was sent that is not acknowledged. */
  get #waiting(): boolean {
    return this.#next > this.#outbox.acknowledged;
  }

  #check(): void {
    if (!this.#waiting || performance.now() - this.#waitingSinceMs < ACKNOWLEDGE_WITHIN_MS) return;
    this.overdue = new ConnectError('no acknowledgement', Code.DeadlineExceeded);
    this.#abort.abort();
  }
}

function errorFromStatus(status: Status): ConnectError {
  const error = new ConnectError(status.message, status.code);
  error.details = status.details.map((any) => ({
    type: any.typeUrl.slice(any.typeUrl.lastIndexOf('/') + 1),
    value: any.value,
  }));
  // A server reported it: see adviceFor.
  error.metadata.set('grpc-status', String(status.code));
  return error;
}
