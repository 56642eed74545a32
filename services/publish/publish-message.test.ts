import { create, type JsonObject } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { Phase, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import { createMemoryBroker } from '#lib/broker/memory-broker.ts';
import { MAX_PAYLOAD_DEPTH } from '#lib/broker/scan-message.ts';
import { checkMessage, MAX_MESSAGE_BYTES, publishMessage } from './publish-message.ts';

const RATE = { name: 'unary', perSec: 2 } as const;

function message(payload?: JsonObject, phase: Phase = Phase.DELTA) {
  return create(PublishRequestSchema, {
    orgId: 1n,
    channelId: '97f58c19-ce38-4c6b-8a5b-47f3405691f0',
    messageId: crypto.randomUUID(),
    phase,
    ...(payload === undefined ? {} : { payload }),
  });
}

function nested(levels: number): JsonObject {
  let value: JsonObject = {};
  for (let level = 1; level < levels; level++) value = { inner: value };
  return value;
}

test('a message is stored once, and said to be a duplicate after that', async () => {
  const broker = createMemoryBroker();
  const hello = message();
  const first = await publishMessage(broker, checkMessage(hello), new Uint8Array(1), RATE);
  expect(first.duplicate).toBe(false);
  expect(await publishMessage(broker, checkMessage(hello), new Uint8Array(1), RATE)).toEqual({
    id: first.id,
    duplicate: true,
  });
  await broker.close();
});

test('what is refused says why, and when it is worth trying again', async () => {
  const broker = createMemoryBroker();
  const publish = (m = message(), size = 1) => publishMessage(broker, checkMessage(m), new Uint8Array(size), RATE);
  await expect(publish(message(), MAX_MESSAGE_BYTES + 1)).rejects.toMatchObject({
    reason: 'too_large',
    message: 'Message size 16385 exceeds maximum of 16384 bytes',
  });
  await publish(message(), MAX_MESSAGE_BYTES);
  await publish(message(undefined, Phase.END));
  await expect(publish()).rejects.toMatchObject({ reason: 'stream_ended', status: 409 });
  await broker.close();
  await expect(publish()).rejects.toMatchObject({ reason: 'broker_away', retryAfterMs: 1000 });
});

test('over the rate it says when the next one passes', async () => {
  const broker = createMemoryBroker();
  for (let i = 0; i < 2; i++) await publishMessage(broker, checkMessage(message()), new Uint8Array(1), RATE);
  await expect(publishMessage(broker, checkMessage(message()), new Uint8Array(1), RATE)).rejects.toMatchObject({
    reason: 'rate_limited',
    status: 429,
    retryAfterSec: 1,
    message: 'Rate limit exceeded: maximum 2 requests per 1 second(s) per channel',
  });
  await broker.close();
});

test('a payload has finite numbers and a depth that every reader can take', async () => {
  const broker = createMemoryBroker();
  const publish = async (payload: JsonObject) =>
    publishMessage(broker, checkMessage(message(payload)), new Uint8Array(1), { name: 'unary', perSec: 0 });
  await publish(nested(MAX_PAYLOAD_DEPTH));
  await publish({ list: [[0, -1.5, null, false, '']] });
  await expect(publish(nested(MAX_PAYLOAD_DEPTH + 1))).rejects.toMatchObject({
    violations: [{ field: 'payload', description: 'must be at most 32 levels deep' }],
  });
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
    await expect(publish({ a: [{ b: bad }] })).rejects.toMatchObject({ message: 'payload: numbers must be finite' });
  }
  await broker.close();
});
