import { setTimeout as delay } from 'node:timers/promises';
import { type Client, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { ControlType, ControlTypeSchema, Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { StreamService } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { adviceFor } from '../../cli/failure.ts';
import type { Receipts } from './checker.ts';

export interface RpcListenerOptions {
  readonly client: Client<typeof StreamService>;
  readonly orgId: bigint;
  readonly token: string;
  readonly receipts: Receipts;
  /** Goes on from there. */
  readonly lastEventId?: string;
}

/** Many listeners share one. */
export function grpcListenerClient(baseUrl: string): Client<typeof StreamService> {
  return createClient(StreamService, createGrpcTransport({ baseUrl }));
}

const RECONNECT_MS = 500;

/**
 * A service that listens by gRPC Subscribe: whenever the response ends before END, or fails in a way that passes (as the
 * command line judges it), it subscribes again by the last id. A process that is killed under a call shows as INTERNAL
 * without a status: the edge can only reset the stream.
 */
export class RpcListener {
  readonly controls: ControlType[] = [];
  /** The codes that calls ended with; 0 for those that ended well. */
  readonly codes: number[] = [];
  readonly receipts: Receipts;
  hasEnded = false;
  /** A response ended well and not because a server goes away: by the contract there is nothing more to come. */
  wasToldAll = false;
  isOpen = false;
  failure: ConnectError | undefined;
  readonly #options: RpcListenerOptions;
  readonly #closing = new AbortController();
  #lastEventId = '';

  constructor(options: RpcListenerOptions) {
    this.#options = options;
    this.receipts = options.receipts;
    this.#lastEventId = options.lastEventId ?? '';
    void this.#run();
  }

  get lastEventId(): string {
    return this.#lastEventId;
  }

  close(): void {
    this.#closing.abort();
  }

  async #run(): Promise<void> {
    while (!this.#closing.signal.aborted && !this.hasEnded && this.failure === undefined) {
      let waitMs = RECONNECT_MS * (0.5 + Math.random() / 2);
      try {
        await this.#subscribe();
        this.codes.push(0);
      } catch (error) {
        const problem = ConnectError.from(error);
        this.codes.push(problem.code);
        const advice = adviceFor(problem);
        if (advice.kind === 'give_up') this.failure = problem;
        else waitMs = Math.max(advice.afterMs, waitMs);
      }
      this.isOpen = false;
      await delay(waitMs, undefined, { signal: this.#closing.signal }).catch(() => undefined);
    }
  }

  async #subscribe(): Promise<void> {
    const { client, orgId, token, receipts } = this.#options;
    const responses = client.subscribe(
      { orgId, channelId: receipts.channel, lastEventId: this.#lastEventId },
      { headers: { authorization: `Bearer ${token}` }, signal: this.#closing.signal },
    );
    let isDraining = false;
    for await (const { id, event } of responses) {
      this.isOpen = true;
      this.#lastEventId = id === '' ? this.#lastEventId : id;
      isDraining = event.case === 'control' && event.value.type === ControlType.SERVER_DRAINING;
      if (event.case === 'message') {
        receipts.record(id, Number(event.value.sequence), event.value.payload);
        if (event.value.phase === Phase.END) this.hasEnded = true;
      } else if (event.case === 'control' && event.value.type !== ControlType.HEARTBEAT) {
        this.controls.push(event.value.type);
        const type = ControlTypeSchema.value[event.value.type]?.localName.toLowerCase() ?? '';
        receipts.control({ type, cursor: id, firstId: event.value.firstId });
        if (event.value.type === ControlType.PRODUCER_LOST) this.hasEnded = true;
      }
    }
    if (!isDraining) this.wasToldAll = true;
  }
}
