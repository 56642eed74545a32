import { setTimeout as delay } from 'node:timers/promises';
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { RetryInfoSchema } from '#gen/google/rpc/error_details_pb.ts';
import type { Status } from '#gen/google/rpc/status_pb.ts';
import type { PublishRequest } from '#gen/tideway/stream/v1/message_pb.ts';
import { PublishService } from '#gen/tideway/stream/v1/publish_service_pb.ts';
import { adviceFor } from '../../cli/failure.ts';
import { type Face, grpcFace, httpFace, jsonFace, type Sent } from '../support/publishers.ts';

/** Sends what a producer has to say on one channel until each message is acknowledged, in order, by one of the ways in. */
export type Publish = (producer: Producer) => Promise<void>;

export interface Producer {
  /** The next message; undefined: that was all. */
  next(): PublishRequest | undefined;
  /** From one message to the next. */
  readonly paceMs: number;
  acknowledged(message: PublishRequest, id: string): void;
  /** What was done, for who has to find out why it went wrong. */
  note(what: string): void;
  /** That the stream has ended is an answer to what is sent again. */
  isToBeSealed(): boolean;
}

/** What happened to publishers of a run beside being acknowledged. */
export interface Trouble {
  /** Refusals that said to try again, and answers that did not come. */
  retried: number;
  /** Refusals that nothing in a run is a reason for. */
  readonly unexpected: string[];
  /** Aborted: nobody tries again. */
  readonly givenUp: AbortSignal;
}

export const WAYS_IN = ['http', 'grpc', 'json', 'batch', 'stream'] as const;
export type WayIn = (typeof WAYS_IN)[number];

/** A client waits at least this long, and impatient ones no longer than that. */
const MIN_WAIT_MS = 50;
const MAX_WAIT_MS = 2_000;
const BATCH_DEADLINE_MS = 20_000;
/** Sent on a PublishStream and not answered yet. */
const WINDOW = 16;
const BATCH = 10;

export interface Publishing {
  way(name: WayIn): Publish;
}

/** All channels of a run share their clients, as a backend does. */
export function openPublishing(baseUrl: string, token: string, trouble: Trouble): Publishing {
  const client = createClient(PublishService, createGrpcTransport({ baseUrl, pingIntervalMs: 5_000 }));
  const headers = { authorization: `Bearer ${token}` };
  const ways: Record<WayIn, Publish> = {
    http: oneByOne(httpFace(baseUrl, token), trouble),
    grpc: oneByOne(grpcFace(baseUrl, token), trouble),
    json: oneByOne(jsonFace(baseUrl, token), trouble),
    batch: async (producer) => {
      for (;;) {
        const messages = take(producer, BATCH);
        if (messages.length === 0) return;
        await publishBatch(client, headers, messages, producer, trouble);
        await delay(producer.paceMs * messages.length);
      }
    },
    stream: (producer) => publishStream(client, headers, producer, trouble),
  };
  return { way: (name) => ways[name] };
}

function oneByOne(face: Face, trouble: Trouble): Publish {
  return async (producer) => {
    for (let message = producer.next(); message !== undefined; message = producer.next()) {
      for (;;) {
        const sent = await face(message);
        if (sent.kind === 'acknowledged') {
          producer.acknowledged(message, sent.id);
          break;
        }
        if (isSealed(sent)) {
          onSealed(producer, trouble);
          break;
        }
        await beforeRetry(sent.retryAfterMs, isPassing(sent) ? undefined : `${sent.code} ${sent.text}`, trouble);
      }
      await delay(producer.paceMs);
    }
  };
}

function take(producer: Producer, most: number): PublishRequest[] {
  const messages: PublishRequest[] = [];
  while (messages.length < most) {
    const message = producer.next();
    if (message === undefined) break;
    messages.push(message);
  }
  return messages;
}

/** As Envoy and the services are allowed to say it: away, too much, too late, or no answer at all. */
function isPassing({ code }: Sent & { kind: 'refused' }): boolean {
  return /^(?:503|504|429|no answer|Unavailable|Aborted|DeadlineExceeded|ResourceExhausted)$/.test(code);
}

function isSealed({ code, text }: Sent & { kind: 'refused' }): boolean {
  return code === 'FailedPrecondition' || (/^4/.test(code) && text.includes('Stream ended'));
}

/** Nothing more comes of sending it again, whether or not it was to be expected. */
function onSealed(producer: Producer, trouble: Trouble): void {
  if (!producer.isToBeSealed() && trouble.unexpected.length < 100) trouble.unexpected.push('Stream ended');
}

async function beforeRetry(afterMs: number | undefined, unexpected: string | undefined, trouble: Trouble) {
  trouble.retried += 1;
  if (unexpected !== undefined) {
    if (trouble.unexpected.length < 100) trouble.unexpected.push(unexpected);
  }
  await delay(Math.min(Math.max(afterMs ?? 0, MIN_WAIT_MS), MAX_WAIT_MS), undefined, { signal: trouble.givenUp });
}

type Headers = Readonly<Record<string, string>>;

async function publishBatch(
  client: Client<typeof PublishService>,
  headers: Headers,
  messages: readonly PublishRequest[],
  producer: Producer,
  trouble: Trouble,
): Promise<void> {
  for (let left = messages; left.length > 0; ) {
    try {
      const { results } = await client.publishBatch({ messages: [...left] }, { headers, timeoutMs: BATCH_DEADLINE_MS });
      const refused: PublishRequest[] = [];
      let status: Status | undefined;
      for (const [n, { result }] of results.entries()) {
        const message = left[n] as PublishRequest;
        if (result.case === 'published') producer.acknowledged(message, result.value.id);
        else if (result.value?.code === Code.FailedPrecondition) onSealed(producer, trouble);
        else {
          refused.push(message);
          status ??= result.value;
        }
      }
      left = refused;
      if (status !== undefined) await beforeRetry(undefined, unexpectedOf(status), trouble);
    } catch (error) {
      await afterCall(error, trouble);
    }
  }
}

async function afterCall(error: unknown, trouble: Trouble): Promise<void> {
  const problem = ConnectError.from(error);
  const passes = adviceFor(problem).kind === 'retry';
  const wait = problem.findDetails(RetryInfoSchema)[0]?.retryDelay;
  const afterMs = wait === undefined ? undefined : Number(wait.seconds) * 1000 + wait.nanos / 1e6;
  await beforeRetry(afterMs, passes ? undefined : `${Code[problem.code]} ${problem.rawMessage}`, trouble);
}

function unexpectedOf({ code, message }: Status): string | undefined {
  return [Code.Unavailable, Code.Aborted, Code.ResourceExhausted].includes(code)
    ? undefined
    : `${Code[code]} ${message}`;
}

/**
 * PublishStream with several messages under way. What is refused is sent again on the same call, in order, once
 * everything before it is answered; what a call that broke has not answered goes first on the next.
 */
async function publishStream(
  client: Client<typeof PublishService>,
  headers: Headers,
  producer: Producer,
  trouble: Trouble,
): Promise<void> {
  let again: PublishRequest[] = [];
  let isSaid = false;
  for (let call = 1; !isSaid || again.length > 0; call++) {
    producer.note(`call ${call}`);
    const underWay: PublishRequest[] = [];
    const refused: PublishRequest[] = [];
    let wake = () => {};
    let isOver = false;
    const takeNext = (): PublishRequest | undefined => {
      const message = again.shift() ?? (isSaid ? undefined : producer.next());
      isSaid ||= message === undefined;
      return message;
    };
    const requests = async function* () {
      while (!isOver) {
        if (refused.length > 0 && underWay.length === 0) {
          await delay(MIN_WAIT_MS);
          // What is to be sent again is the next call's then.
          if (isOver) return;
          again = [...refused.splice(0), ...again];
        }
        if (refused.length === 0 && underWay.length < WINDOW) {
          const isRepeated = again.length > 0;
          const message = takeNext();
          if (message !== undefined) {
            underWay.push(message);
            producer.note(`${message.sequence} is sent`);
            yield { message };
            if (!isRepeated) await delay(producer.paceMs);
            continue;
          }
          if (underWay.length === 0) return;
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    };
    try {
      for await (const { result } of client.publishStream(requests(), { headers })) {
        if (result.case === 'cancelled') continue;
        const message = underWay.shift();
        if (message === undefined) throw new Error('an answer to nothing');
        if (result.case === 'published') producer.acknowledged(message, result.value.id);
        else if (result.value?.code === Code.FailedPrecondition) onSealed(producer, trouble);
        else {
          producer.note(`${message.sequence} is refused: ${result.value?.message}`);
          refused.push(message);
          trouble.retried += 1;
          const unexpected = result.value === undefined ? 'an empty answer' : unexpectedOf(result.value);
          if (unexpected !== undefined && trouble.unexpected.length < 100) trouble.unexpected.push(unexpected);
        }
        wake();
      }
    } catch (error) {
      isOver = true;
      producer.note(`the call ends: ${ConnectError.from(error).message}`);
      await afterCall(error, trouble);
    } finally {
      isOver = true;
      wake();
    }
    again = [...refused, ...underWay, ...again];
  }
}
