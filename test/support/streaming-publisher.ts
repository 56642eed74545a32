import { setTimeout as delay } from 'node:timers/promises';
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { Phase, type PublishRequest } from '#gen/tideway/stream/v1/message_pb.ts';
import { PublishService } from '#gen/tideway/stream/v1/publish_service_pb.ts';
import type { Checker } from './checker.ts';
import { newMessage } from './publishers.ts';

export interface StreamingPublisherOptions {
  readonly baseUrl: string;
  readonly token: string;
  readonly checker: Checker;
  readonly orgId: bigint;
  readonly channel: string;
}

/** What may be sent and not answered yet. */
const WINDOW = 8;
const PAUSE_MS = 10;

/**
 * A publisher on PublishStream that keeps several messages under way. When a call ends it sends what was not answered on
 * the next one, first and in order, as the contract asks for.
 */
export class StreamingPublisher {
  acknowledged = 0;
  /** What calls ended with before their time. */
  readonly codes: string[] = [];
  readonly #options: StreamingPublisherOptions;
  readonly #client: Client<typeof PublishService>;
  readonly #running: Promise<void>;
  /** Sent on the present call or the one before, in order; the answers come in the same order. */
  #underWay: PublishRequest[] = [];
  #sequence = 0;
  #call = 0;
  #ending = false;
  #hasEnded = false;

  constructor(options: StreamingPublisherOptions) {
    this.#options = options;
    this.#client = createClient(PublishService, createGrpcTransport({ baseUrl: options.baseUrl }));
    this.#running = this.#run();
  }

  /** Says END, and resolves when that is answered. */
  async end(): Promise<void> {
    this.#ending = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    const { token, checker, channel } = this.#options;
    while (!this.#hasEnded || this.#underWay.length > 0) {
      try {
        const headers = { authorization: `Bearer ${token}` };
        const requests = this.#requests(++this.#call);
        for await (const { result } of this.#client.publishStream(requests, { headers })) {
          if (result.case === 'cancelled') continue;
          const message = this.#underWay.shift();
          if (message === undefined) throw new Error('an answer to nothing');
          if (result.case !== 'published') throw new Error(`refused: ${result.value?.message}`);
          this.acknowledged++;
          checker.acknowledge(channel, result.value.id, Number(message.sequence));
        }
      } catch (error) {
        this.codes.push(error instanceof ConnectError ? (Code[error.code] ?? '') : String(error));
        await delay(PAUSE_MS);
      }
    }
  }

  /** Those of a call that is over may be asked for more once again: they have nothing more to say. */
  async *#requests(call: number) {
    for (const message of [...this.#underWay]) yield { message };
    while (!this.#hasEnded && call === this.#call) {
      if (this.#underWay.length < WINDOW) {
        const phase = this.#ending ? Phase.END : Phase.DELTA;
        const message = newMessage(this.#options.orgId, this.#options.channel, phase, this.#sequence++);
        this.#underWay.push(message);
        this.#hasEnded = this.#ending;
        yield { message };
      }
      await delay(PAUSE_MS);
    }
  }
}
