import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';
import { create, toBinary, toJsonString } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { RetryInfoSchema } from '#gen/google/rpc/error_details_pb.ts';
import { Phase, type PublishRequest, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import { PublishService } from '#gen/tideway/stream/v1/publish_service_pb.ts';
import { adviceFor } from '../../cli/failure.ts';
import type { Checker } from './checker.ts';

/** How one publish ended. */
export type Sent =
  | { readonly kind: 'acknowledged'; readonly id: string; readonly tookMs: number }
  | {
      readonly kind: 'refused';
      /** HTTP's status or the RPC code's name. */
      readonly code: string;
      readonly text: string;
      /** What the answer says to wait. Undefined: it says nothing, so it is not worth trying again. */
      readonly retryAfterMs: number | undefined;
      readonly tookMs: number;
    };

/** One of the ways in. It sends once, and never again by itself. */
export type Face = (message: PublishRequest) => Promise<Sent>;

/** No answer may take longer than the edge allows. */
const ANSWER_DEADLINE_MS = 20_000;

/** Conduit's HTTP form. */
export function httpFace(baseUrl: string, token: string): Face {
  return timed(async (message) => {
    const response = await fetch(`${baseUrl}/publish/${message.orgId}/${message.channelId}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/x-protobuf' },
      body: toBinary(PublishRequestSchema, message) as Uint8Array<ArrayBuffer>,
      signal: AbortSignal.timeout(ANSWER_DEADLINE_MS),
    });
    const text = await response.text();
    return response.ok ? { kind: 'acknowledged', id: text } : refusedByHttp(response, text);
  });
}

/** Unary gRPC. */
export function grpcFace(baseUrl: string, token: string): Face {
  const client = createClient(PublishService, createGrpcTransport({ baseUrl, defaultTimeoutMs: ANSWER_DEADLINE_MS }));
  return timed(async (message) => {
    try {
      const { id } = await client.publish(message, { headers: { authorization: `Bearer ${token}` } });
      return { kind: 'acknowledged', id };
    } catch (error) {
      const problem = ConnectError.from(error);
      const wait = problem.findDetails(RetryInfoSchema)[0]?.retryDelay;
      const retryAfterMs = wait === undefined ? undefined : Number(wait.seconds) * 1000 + wait.nanos / 1e6;
      // As the command line has it: a connection that dies under a call, without a status of anybody's.
      const wasCut =
        [Code.Internal, Code.Unknown, Code.Canceled].includes(problem.code) && adviceFor(problem).kind === 'retry';
      const code = wasCut ? 'no answer' : (Code[problem.code] ?? '');
      return { kind: 'refused', code, text: problem.rawMessage, retryAfterMs };
    }
  });
}

/** Unary Publish as JSON, through the edge's transcoder. */
export function jsonFace(baseUrl: string, token: string): Face {
  return timed(async (message) => {
    const response = await fetch(`${baseUrl}/v1/messages:publish`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: toJsonString(PublishRequestSchema, message),
      signal: AbortSignal.timeout(ANSWER_DEADLINE_MS),
    });
    const text = await response.text();
    if (response.ok) return { kind: 'acknowledged', id: JSON.parse(text).id };
    // Google's JSON errors carry RetryInfo in the body, where HTTP's have a header.
    const wait = /"retry_delay":"([0-9.]+)s"/.exec(text)?.[1];
    const refused = refusedByHttp(response, text);
    return wait === undefined ? refused : { ...refused, retryAfterMs: Number(wait) * 1000 };
  });
}

export interface SteadyOptions {
  readonly checker: Checker;
  readonly face: Face;
  readonly orgId: bigint;
  readonly channel: string;
  /** Every message's payload. */
  readonly text?: string;
  /** From one answer to the next message. */
  readonly pauseMs: number;
  /** Sends a refused message again, after what it was told, until it is acknowledged. Otherwise it is only counted. */
  readonly persists?: boolean;
}

/** One publisher on a channel of its own: each message waits for the answer to the one before. */
export class SteadyPublisher {
  readonly refusals: (Sent & { readonly kind: 'refused' })[] = [];
  /** Until the answer came, the slowest. */
  slowestMs = 0;
  acknowledged = 0;
  readonly #options: SteadyOptions;
  readonly #running: Promise<void>;
  #sequence = 0;
  #stopping = false;

  constructor(options: SteadyOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  /** Stops, and says END. */
  async end(): Promise<void> {
    await this.stop();
    await this.send(Phase.END);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
  }

  /** Resolves with the id, or undefined where it was refused and is not to be sent again. */
  async send(phase: Phase): Promise<string | undefined> {
    const { checker, channel, face, persists } = this.#options;
    const sequence = this.#sequence++;
    const message = newMessage(this.#options.orgId, channel, phase, sequence, this.#options.text);
    for (;;) {
      const sent = await face(message);
      this.slowestMs = Math.max(this.slowestMs, sent.tookMs);
      if (sent.kind === 'acknowledged') {
        this.acknowledged++;
        checker.acknowledge(channel, sent.id, sequence);
        return sent.id;
      }
      this.refusals.push(sent);
      if (!persists || sent.retryAfterMs === undefined) return undefined;
      await delay(Math.max(sent.retryAfterMs, 50));
    }
  }

  async #run(): Promise<void> {
    await this.send(Phase.START);
    while (!this.#stopping) {
      await delay(this.#options.pauseMs);
      await this.send(Phase.DELTA);
    }
  }
}

export function newMessage(
  orgId: bigint,
  channelId: string,
  phase: Phase,
  sequence: number,
  text = `message ${sequence}`,
): PublishRequest {
  const payload = { text };
  const messageId = randomUUID();
  return create(PublishRequestSchema, { orgId, channelId, messageId, phase, sequence: BigInt(sequence), payload });
}

type Acknowledged = Omit<Sent & { kind: 'acknowledged' }, 'tookMs'>;
type Refused = Omit<Sent & { kind: 'refused' }, 'tookMs'>;

function timed(face: (message: PublishRequest) => Promise<Acknowledged | Refused>): Face {
  return async (message) => {
    const startMs = performance.now();
    let sent: Acknowledged | Refused;
    try {
      sent = await face(message);
    } catch (error) {
      sent = { kind: 'refused', code: 'no answer', text: inspect(error), retryAfterMs: undefined };
    }
    return { ...sent, tookMs: performance.now() - startMs };
  };
}

function refusedByHttp(response: Response, text: string): Refused {
  const told = response.headers.get('retry-after');
  const retryAfterMs = told === null ? undefined : Number(told) * 1000;
  return { kind: 'refused', code: String(response.status), text, retryAfterMs };
}
