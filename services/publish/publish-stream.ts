import { setTimeout as delay } from 'node:timers/promises';
import { type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { Code } from '@connectrpc/connect';
import { type PublishRequest, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import type { PublishStreamRequest, PublishStreamResponseSchema } from '#gen/tideway/stream/v1/publish_service_pb.ts';
import type { PublishClaims } from '#lib/auth/publish-token.ts';
import { type Broker, type ChannelKey, channelKey, type PublishRate } from '#lib/broker/broker.ts';
import type { Gate } from '#lib/server/gate.ts';
import { invalidField, Refusal } from '#lib/server/refusal.ts';
import { toStatus } from '#lib/server/rpc-status.ts';
import { publishMessage } from './publish-message.ts';

/** Channels of one call that may wait for a refused message to come again. */
const MAX_HELD_CHANNELS = 1_000;

type Answer = MessageInitShape<typeof PublishStreamResponseSchema>;

interface PublishStreamContext {
  readonly gate: Gate;
  readonly broker: Broker;
  readonly claims: PublishClaims;
  readonly rate: PublishRate;
  /** Aborted when this server drains, and when the caller goes. */
  readonly signal: AbortSignal;
}

/**
 * Answers each message in order. The order within a channel holds over refusals: after one that is worth sending again,
 * later messages of that channel are ABORTED until it comes. Over the rate nothing is refused; the call is read more
 * slowly, and the caller's flow control does the rest.
 */
export async function* publishStream(
  requests: AsyncIterable<PublishStreamRequest>,
  context: PublishStreamContext,
): AsyncGenerator<Answer> {
  const held = new Map<ChannelKey, string>();
  let position = 0n;
  for await (const { message } of untilAborted(requests, context.signal)) {
    yield { position: position++, ...(await answer(message, held, context)) };
    if (held.size > MAX_HELD_CHANNELS) {
      throw new Refusal('rate_limited', { text: 'Too many channels wait for a refused message', retryAfterMs: 1000 });
    }
  }
  if (context.signal.aborted) throw new Refusal('draining');
}

async function answer(
  message: PublishRequest | undefined,
  held: Map<ChannelKey, string>,
  context: PublishStreamContext,
): Promise<Pick<Answer, 'result'>> {
  let channel: ChannelKey | undefined;
  try {
    if (message === undefined) throw invalidField('message', 'is not set');
    if (context.claims.expiresAtMs <= Date.now()) throw new Refusal('token_expired');
    context.gate.validate(PublishRequestSchema, message);
    context.gate.requireClaims(context.claims, message.orgId, message.channelId);
    channel = channelKey(message.orgId, message.channelId);
    const awaited = held.get(channel);
    if (awaited !== undefined && awaited !== identity(message)) throw new Refusal('earlier_refused');
    const published = await publishWithinRate(message, context);
    held.delete(channel);
    return { result: { case: 'published', value: published } };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (channel !== undefined && message !== undefined && error.code === Code.Unavailable) {
      held.set(channel, identity(message));
    }
    return { result: { case: 'error', value: toStatus(error) } };
  }
}

async function publishWithinRate(message: PublishRequest, { broker, rate, signal }: PublishStreamContext) {
  const data = toBinary(PublishRequestSchema, message);
  for (;;) {
    try {
      return await publishMessage(broker, message, data, rate);
    } catch (error) {
      if (!(error instanceof Refusal) || error.reason !== 'rate_limited') throw error;
      await delay(error.retryAfterMs, undefined, { signal }).catch(() => {
        throw new Refusal('draining');
      });
    }
  }
}

function identity({ messageId, phase, sequence }: PublishRequest): string {
  return `${messageId.toLowerCase()}/${phase}/${sequence}`;
}

/** Hands on what arrives until `signal` aborts, even while it waits for the next. */
async function* untilAborted<T>(source: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const iterator = source[Symbol.asyncIterator]();
  let stop = () => {};
  signal.addEventListener('abort', () => stop(), { once: true });
  for (;;) {
    // One promise a message: racing each `next` against one long-lived promise would keep every reaction until the end.
    const next = await new Promise<IteratorResult<T>>((resolve, reject) => {
      stop = () => resolve({ done: true, value: undefined });
      if (signal.aborted) stop();
      else iterator.next().then(resolve, reject);
    });
    if (next.done === true) return;
    yield next.value;
  }
}
