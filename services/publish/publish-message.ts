import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import type { PublishRequest } from '#gen/tideway/stream/v1/message_pb.ts';
import {
  type Broker,
  BrokerUnavailableError,
  type ChannelKey,
  channelKey,
  type NewMessage,
  type PublishRate,
  type PublishResult,
} from '#lib/broker/broker.ts';
import type { EntryId } from '#lib/broker/entry-id.ts';
import { MAX_PAYLOAD_DEPTH, type MessageHead } from '#lib/broker/scan-message.ts';
import { invalidField, Refusal } from '#lib/server/refusal.ts';

/** Conduit's limit, on the encoded PublishRequest. */
export const MAX_MESSAGE_BYTES = 16_384;

export type Published = { readonly id: EntryId; readonly duplicate: boolean };

/**
 * Holds a decoded message that keeps the contract's rules to the limits that these can't say.
 * @throws Refusal `invalid_argument`
 */
export function checkMessage({ orgId, channelId, messageId, phase, sequence, payload }: PublishRequest): MessageHead {
  if (payload !== undefined) checkPayload(payload);
  return { orgId, channelId: channelId.toLowerCase(), messageId: messageId.toLowerCase(), phase, sequence };
}

/**
 * Publishes one message that has passed the gate and the limits: the use case behind the faces that take one at a time.
 * @param data the encoded message, stored as it is.
 * @throws Refusal `rate_limited` with the time to wait, `stream_ended`, `too_large`, `broker_away`.
 */
export async function publishMessage(
  broker: Broker,
  head: MessageHead,
  data: Uint8Array,
  rate: PublishRate,
): Promise<Published> {
  const message = toStore(head, data);
  let result: PublishResult;
  try {
    result = await broker.publish(channelOf(head), message, rate);
  } catch (error) {
    brokerAway(error);
  }
  return publishedOf(result, rate);
}

export function channelOf({ orgId, channelId }: MessageHead): ChannelKey {
  return channelKey(orgId, channelId);
}

/** What the broker is to store of a message. @throws Refusal `too_large` */
export function toStore({ messageId, phase, sequence }: MessageHead, data: Uint8Array): NewMessage {
  if (data.byteLength > MAX_MESSAGE_BYTES) throw tooLarge(data.byteLength);
  return { messageId, phase, sequence, data };
}

/** @throws Refusal `rate_limited` with the time to wait, `stream_ended` */
export function publishedOf(result: PublishResult, rate: PublishRate): Published {
  switch (result.kind) {
    case 'stored':
      return { id: result.id, duplicate: false };
    case 'duplicate':
      return { id: result.id, duplicate: true };
    case 'sealed':
      throw new Refusal('stream_ended');
    case 'rate_limited':
      throw rateLimited(result.retryAfterMs, rate);
  }
}

export function rateLimited(retryAfterMs: number, rate: PublishRate): Refusal {
  const text = `Rate limit exceeded: maximum ${rate.perSec} requests per 1 second(s) per channel`;
  return new Refusal('rate_limited', { text, retryAfterMs });
}

/** For what a broker throws. @throws Refusal `broker_away` where that is the matter */
export function brokerAway(error: unknown): never {
  if (!(error instanceof BrokerUnavailableError)) throw error;
  throw new Refusal('broker_away', { retryAfterMs: error.retryAfterMs, cause: error });
}

export function tooLarge(sizeBytes?: number): Refusal {
  const size = sizeBytes === undefined ? '' : ` ${sizeBytes}`;
  return new Refusal('too_large', { text: `Message size${size} exceeds maximum of ${MAX_MESSAGE_BYTES} bytes` });
}

/** Holds a payload to what every listener can read: JSON has no NaN or infinity, and readers limit depth. */
function checkPayload(payload: JsonObject): void {
  const problem = findProblem(payload, 1);
  if (problem !== undefined) throw invalidField('payload', problem);
}

function findProblem(value: JsonValue, depth: number): string | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? undefined : 'numbers must be finite';
  if (typeof value !== 'object' || value === null) return undefined;
  if (depth > MAX_PAYLOAD_DEPTH) return `must be at most ${MAX_PAYLOAD_DEPTH} levels deep`;
  for (const inner of Array.isArray(value) ? value : Object.values(value)) {
    const problem = findProblem(inner, depth + 1);
    if (problem !== undefined) return problem;
  }
  return undefined;
}
