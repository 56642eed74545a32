import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import type { Status } from '#gen/google/rpc/status_pb.ts';
import { type PublishRequest, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import {
  type PublishBatchRequest,
  PublishBatchRequestSchema,
  type PublishBatchResponseSchema,
  type PublishBatchResult,
  PublishBatchResultSchema,
} from '#gen/tideway/stream/v1/publish_service_pb.ts';
import type { PublishClaims } from '#lib/auth/publish-token.ts';
import {
  type Broker,
  type ChannelKey,
  channelKey,
  type NewMessage,
  type PublishRate,
  type PublishResult,
} from '#lib/broker/broker.ts';
import type { Gate } from '#lib/server/gate.ts';
import { invalidFields, Refusal, type Violation } from '#lib/server/refusal.ts';
import { toStatus } from '#lib/server/rpc-status.ts';
import type { BatchedMessage } from './publish-batch-wire.ts';
import { brokerAway, channelOf, checkMessage, MAX_MESSAGE_BYTES, rateLimited, toStore } from './publish-message.ts';

/** Of an encoded batch: 500 messages of 2 KiB. */
export const MAX_BATCH_BYTES = 1024 * 1024;
/** The contract's. */
const MAX_BATCH_MESSAGES = 500;

export interface PublishBatchContext {
  readonly gate: Gate;
  readonly broker: Broker;
  readonly claims: PublishClaims;
  readonly rate: PublishRate;
}

/**
 * Publishes messages of one channel. What can be known before anything is stored (a message that is not well formed, the
 * rate) refuses the batch as a whole; so does a broker that is away, after which nobody knows what is stored. Either way
 * the batch is sent again as it is. Only after an END some messages are refused, and others are not.
 * @throws Refusal
 */
export async function publishBatch(
  batch: PublishBatchRequest,
  context: PublishBatchContext,
): Promise<MessageInitShape<typeof PublishBatchResponseSchema>> {
  const channel = validate(batch, context);
  return { results: await publishAll(channel, batch.messages.map(storable), context) };
}

/**
 * The same of messages that were scanned, and are stored as they came.
 * @returns undefined where something is wrong, or may be, before anything is stored: {@link publishBatch} has the words.
 */
export function publishScanned(
  messages: readonly BatchedMessage[],
  { gate, broker, claims, rate }: PublishBatchContext,
): Promise<PublishBatchResult[]> | undefined {
  const first = messages[0]?.head;
  if (first === undefined || messages.length > MAX_BATCH_MESSAGES) return undefined;
  const { orgId, channelId } = first;
  const isWrong = ({ head, data }: BatchedMessage) =>
    head.orgId !== orgId || head.channelId !== channelId || data.byteLength > MAX_MESSAGE_BYTES;
  if (messages.some(isWrong)) return undefined;
  try {
    gate.requireClaims(claims, orgId, channelId);
  } catch {
    return undefined;
  }
  return publishAll(
    channelOf(first),
    messages.map(({ head, data }) => toStore(head, data)),
    { broker, rate },
  );
}

async function publishAll(
  channel: ChannelKey,
  messages: readonly NewMessage[],
  { broker, rate }: Pick<PublishBatchContext, 'broker' | 'rate'>,
): Promise<PublishBatchResult[]> {
  const results = await broker.publishMany(channel, messages, rate).catch(brokerAway);
  return results.map((result) => answerOf(result, rate));
}

let ended: Status | undefined;

function answerOf(result: PublishResult, rate: PublishRate): PublishBatchResult {
  switch (result.kind) {
    case 'stored':
    case 'duplicate':
      return create(PublishBatchResultSchema, {
        result: { case: 'published', value: { id: result.id, duplicate: result.kind === 'duplicate' } },
      });
    case 'sealed':
      ended ??= toStatus(new Refusal('stream_ended'));
      return create(PublishBatchResultSchema, { result: { case: 'error', value: ended } });
    case 'rate_limited':
      // Nothing was stored, then: the first message that would have been is the one that is refused.
      throw rateLimited(result.retryAfterMs, rate);
  }
}

/** @throws Refusal */
function validate(batch: PublishBatchRequest, { gate, claims }: PublishBatchContext): ChannelKey {
  gate.validate(PublishBatchRequestSchema, batch);
  const [first] = batch.messages;
  if (first === undefined) throw new Error('the contract has no empty batches');
  const violations: Violation[] = [];
  const description = 'must be that of the first message';
  for (const [n, { orgId, channelId }] of batch.messages.entries()) {
    if (orgId !== first.orgId) violations.push({ field: `messages[${n}].org_id`, description });
    if (channelId.toLowerCase() !== first.channelId.toLowerCase()) {
      violations.push({ field: `messages[${n}].channel_id`, description });
    }
  }
  if (violations.length > 0) throw invalidFields(violations);
  gate.requireClaims(claims, first.orgId, first.channelId);
  return channelKey(first.orgId, first.channelId);
}

function storable(message: PublishRequest, n: number): NewMessage {
  try {
    return toStore(checkMessage(message), toBinary(PublishRequestSchema, message));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    const { reason, violations } = error;
    const field = `messages[${n}]`;
    if (violations.length === 0) throw new Refusal(reason, { text: `${field}: ${error.message}` });
    throw invalidFields(violations.map((violation) => ({ ...violation, field: `${field}.${violation.field}` })));
  }
}
