import { Code, ConnectError } from '@connectrpc/connect';
import type { SubscribeResponse } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { Refusal } from '#lib/server/refusal.ts';
import type { Sink } from './delivery.ts';
import type { RpcChunk } from './rpc-wire.ts';

/** More waiting than this asks a replay to pause. */
const HIGH_WATER_BYTES = 64 * 1024;

/** The responses of one call: a queue that connect-node takes from as fast as its reader reads. */
export class RpcSink<R = SubscribeResponse> implements Sink<RpcChunk<R>> {
  onDrain: () => void = () => {};
  onGone: () => void = () => {};
  #waiting: RpcChunk<R>[] = [];
  #waitingBytes = 0;
  #wake: () => void = () => {};
  readonly #signal: AbortSignal;
  #ended = false;
  #failure: Refusal | ConnectError | undefined;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    // It may have gone while its token was looked at: nobody would ever be told then.
    if (signal.aborted) this.#aborted();
    else signal.addEventListener('abort', () => this.#aborted());
  }

  #aborted(): void {
    this.#ended = true;
    // A caller's deadline is said; whoever went hears nothing.
    const { reason } = this.#signal;
    if (reason instanceof ConnectError && reason.code === Code.DeadlineExceeded) this.#failure = reason;
    this.#waiting = [];
    this.#wake();
    this.onGone();
  }

  get isGone(): boolean {
    return this.#signal.aborted;
  }

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  write(chunk: RpcChunk<R>): boolean {
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.sizeBytes;
    this.#wake();
    return this.#waitingBytes < HIGH_WATER_BYTES;
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  fail(reason: 'unavailable' | 'too_slow'): void {
    this.#failure = new Refusal(reason === 'unavailable' ? 'broker_away' : 'slow_listener', {
      ...(reason === 'unavailable' ? { text: 'Broker away' } : {}),
    });
    if (reason === 'too_slow') this.#waiting = [];
    this.end();
  }

  /** Ends when the sink does; throws the Refusal it failed with. */
  async *responses(): AsyncGenerator<R> {
    for (;;) {
      const batch = this.#waiting;
      this.#waiting = [];
      for (const { responses, sizeBytes } of batch) {
        this.#waitingBytes -= sizeBytes;
        yield* responses;
      }
      if (this.#waiting.length > 0) continue;
      this.onDrain();
      if (this.#waiting.length > 0) continue;
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#ended) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
