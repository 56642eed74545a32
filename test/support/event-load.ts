import { Agent, request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { Code, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import {
  RelayService,
  type SendEnvelopesRequest,
  SendEnvelopesRequestSchema,
} from '#gen/tideway/relay/v1/relay_service_pb.ts';
import { authHeader, type Dsn, eventEnvelope, eventJson, newEventId } from './event-sending.ts';
import { until } from './until.ts';

export interface EventLoadOptions {
  readonly dsn: Dsn;
  /** Half of them by HTTP as SDKs send, half by SendEnvelopes. */
  readonly eventsPerSec: number;
}

const TICK_MS = 20;
/** What has no answer: more is not sent. */
const MAX_UNANSWERED = 1_000;
const HTTP_TIMEOUT_MS = 10_000;
const RECONNECT_MS = 100;
const FINISH_TIMEOUT_MS = 40_000;

/**
 * Sends events at a steady rate and keeps the books. An SDK's events are sent once, whatever comes of it; SendEnvelopes'
 * until they are answered, as its contract says.
 */
export class EventLoad {
  /** By event id: when HTTP answered 200, by performance.now(). */
  readonly answered = new Map<string, number>();
  /** Answered by SendEnvelopes without an error. */
  readonly acknowledged = new Set<string>();
  /** How often HTTP answered with which status; 0: not at all. */
  readonly statuses = new Map<number, number>();
  /** What SendEnvelopes refused for good. */
  readonly refusals: string[] = [];
  sent = 0;
  readonly #options: EventLoadOptions;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });
  readonly #byRpc: EnvelopeCalls;
  readonly #timer: NodeJS.Timeout;
  #httpUnanswered = 0;
  #dueFromMs = performance.now();

  constructor(options: EventLoadOptions) {
    this.#options = options;
    this.#byRpc = new EnvelopeCalls(options.dsn, this.acknowledged, this.refusals);
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  /** Sends nothing more, and waits until everything is answered. */
  async finish(): Promise<void> {
    clearInterval(this.#timer);
    await until('all is answered over HTTP', () => this.#httpUnanswered === 0, FINISH_TIMEOUT_MS);
    await this.#byRpc.finish();
    this.#agent.destroy();
  }

  #tick(): void {
    const nowMs = performance.now();
    const due = Math.floor(((nowMs - this.#dueFromMs) * this.#options.eventsPerSec) / 2_000);
    this.#dueFromMs += (due * 2_000) / this.#options.eventsPerSec;
    for (let n = 0; n < due; n++) {
      if (this.#httpUnanswered < MAX_UNANSWERED) this.#sendByHttp();
      if (this.#byRpc.unanswered < MAX_UNANSWERED) {
        this.#byRpc.send(newEventId());
        this.sent++;
      }
    }
  }

  #sendByHttp(): void {
    const { url, projectId, key } = this.#options.dsn;
    const id = newEventId();
    this.sent++;
    this.#httpUnanswered++;
    let status = 0;
    const body = eventEnvelope(id);
    const asking = request(`${url}/api/${projectId}/envelope/`, {
      method: 'POST',
      agent: this.#agent,
      timeout: HTTP_TIMEOUT_MS,
      headers: { 'x-sentry-auth': authHeader(key), 'content-length': body.byteLength },
    });
    asking.on('response', (response) => {
      status = response.statusCode ?? 0;
      response.resume();
    });
    asking.on('timeout', () => asking.destroy());
    asking.on('error', () => undefined);
    asking.on('close', () => {
      this.#httpUnanswered--;
      this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1);
      if (status === 200) this.answered.set(id, performance.now());
    });
    asking.end(body);
  }
}

/** One SendEnvelopes call after the other, for as long as there is something to send. */
class EnvelopeCalls {
  readonly #dsn: Dsn;
  readonly #acknowledged: Set<string>;
  readonly #refusals: string[];
  readonly #unanswered = new Map<bigint, string>();
  /** Not sent in the present call. */
  #waiting: bigint[] = [];
  #sequence = 0n;
  #isFinishing = false;
  #wake: (() => void) | undefined;
  readonly #running: Promise<void>;

  constructor(dsn: Dsn, acknowledged: Set<string>, refusals: string[]) {
    this.#dsn = dsn;
    this.#acknowledged = acknowledged;
    this.#refusals = refusals;
    this.#running = this.#run();
  }

  get unanswered(): number {
    return this.#unanswered.size;
  }

  send(id: string): void {
    const sequence = ++this.#sequence;
    this.#unanswered.set(sequence, id);
    this.#waiting.push(sequence);
    this.#wake?.();
  }

  async finish(): Promise<void> {
    this.#isFinishing = true;
    this.#wake?.();
    await until('all is answered by SendEnvelopes', () => this.#unanswered.size === 0, FINISH_TIMEOUT_MS);
    this.#wake?.();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#isFinishing || this.#unanswered.size > 0) {
      const client = createClient(RelayService, createGrpcTransport({ baseUrl: this.#dsn.url }));
      const ended = new AbortController();
      this.#waiting = [...this.#unanswered.keys()];
      try {
        for await (const { sequence, error } of client.sendEnvelopes(this.#requests(ended.signal))) {
          const id = this.#unanswered.get(sequence);
          if (id === undefined) continue;
          if (error?.code === Code.Unavailable) {
            setTimeout(() => this.#sendAgain(sequence), RECONNECT_MS);
            continue;
          }
          this.#unanswered.delete(sequence);
          if (error === undefined) this.#acknowledged.add(id);
          else this.#refusals.push(`${error.code}: ${error.message}`);
          if (this.#isFinishing) this.#wake?.();
        }
      } catch {
        // Whatever ended it: what has no answer is sent again.
      }
      ended.abort();
      this.#wake?.();
      await delay(RECONNECT_MS);
    }
  }

  #sendAgain(sequence: bigint): void {
    if (!this.#unanswered.has(sequence)) return;
    this.#waiting.push(sequence);
    this.#wake?.();
  }

  async *#requests(ended: AbortSignal): AsyncGenerator<SendEnvelopesRequest> {
    const { projectId, key } = this.#dsn;
    while (!ended.aborted) {
      const sequence = this.#waiting.shift();
      if (sequence === undefined) {
        if (this.#isFinishing && this.#unanswered.size === 0) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      const eventId = this.#unanswered.get(sequence);
      if (eventId === undefined) continue;
      const payload = Buffer.from(eventJson(eventId));
      yield create(SendEnvelopesRequestSchema, {
        sequence,
        publicKey: key,
        projectId: BigInt(projectId),
        envelope: { eventId, items: [{ type: 'event', payload }] },
      });
    }
  }
}
