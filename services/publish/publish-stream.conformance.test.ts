import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { encodeEnvelope } from '@connectrpc/connect/protocol';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import { PublishStreamRequestSchema, PublishStreamResponseSchema } from '#gen/tideway/stream/v1/publish_service_pb.ts';
import type { EntryId } from '#lib/broker/entry-id.ts';
import { Refusal } from '#lib/server/refusal.ts';
import { resultOf } from './publish-stream.ts';
import { encodeAnswers } from './publish-stream-answers.ts';
import { asField, CHANNELS, cut, messagesOf, TwoSides } from './publish-testing.ts';

let sides: TwoSides;
/** One that was seen before is let in at once, a new one when it is verified: the call may be over by then. */
let seenToken: string;

beforeAll(async () => {
  sides = await TwoSides.start('PublishStream');
  seenToken = await sides.newToken();
  const headers = { authorization: `Bearer ${seenToken}` };
  await sides.same({ contentType: 'application/grpc', chunks: [encodeEnvelope(0, new Uint8Array())], headers });
});
afterAll(() => sides?.stop());

const CONTENT_TYPES = ['application/grpc', 'application/grpc+proto', 'application/connect+proto'];

const messages = messagesOf({ weightOfWrong: 15 });
const wrapped = messages.map((data) =>
  toBinary(
    PublishStreamRequestSchema,
    create(PublishStreamRequestSchema, { message: fromBinary(PublishRequestSchema, data) }),
  ),
);
const frames = fc.oneof(
  { weight: 30, arbitrary: wrapped },
  { weight: 1, arbitrary: fc.constant(new Uint8Array()) },
  // Around the message what nobody knows; within it, too; a message in two parts; and bytes that are none.
  { weight: 1, arbitrary: wrapped.map((data) => Buffer.concat([data, Buffer.from([0x78, 1])])) },
  { weight: 1, arbitrary: messages.map((data) => asField(Buffer.concat([data, Buffer.from([0x78, 1])]))) },
  { weight: 1, arbitrary: fc.tuple(wrapped, wrapped).map((parts) => Buffer.concat(parts)) },
  { weight: 1, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 30 }) },
);

test('any sequence of messages, cut anywhere, is answered and stored as connect-node has it', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...CONTENT_TYPES),
      fc.array(frames, { maxLength: 40 }),
      fc.array(fc.nat(), { maxLength: 4 }),
      fc.boolean(),
      async (contentType, made, places, isNew) => {
        const body = Buffer.concat(made.map((frame) => encodeEnvelope(0, frame)));
        const authorization = `Bearer ${isNew ? await sides.newToken() : seenToken}`;
        await sides.same({ contentType, chunks: cut(body, places), headers: { authorization } });
        await sides.sameIsStored([1n, 2n], CHANNELS);
      },
    ),
    { numRuns: 150, endOnFailure: true },
  );
}, 180_000);

describe.each(CONTENT_TYPES)('a call as %s', (contentType) => {
  test.each([
    ['nothing', []],
    ['an empty chunk', [new Uint8Array()]],
    ['an empty frame', [encodeEnvelope(0, new Uint8Array())]],
    ['the head of a frame', [Buffer.from([0, 0])]],
  ])('of %s, by a token that was not seen before', async (_, chunks) => {
    const headers = { authorization: `Bearer ${await sides.newToken()}` };
    await sides.same({ contentType, chunks, headers });
  });

  test.each<[string, Uint8Array[], Record<string, string>?]>([
    ['of nothing', []],
    ['that ends in a frame', [encodeEnvelope(0, new Uint8Array(20)).subarray(0, 12)]],
    ['that ends in the head of a frame', [Buffer.from([0, 0])]],
    ['with a message above the limit', [Buffer.from([0, 0, 1, 0, 1])]],
    ['with a compressed message that says not how', [encodeEnvelope(1, new Uint8Array(20))]],
    ['of no token', [], { authorization: 'Bearer nonsense' }],
    ['in an encoding that nobody knows', [], { 'grpc-encoding': 'x', 'connect-content-encoding': 'x' }],
    ['with a deadline', [], { 'grpc-timeout': '10S', 'connect-timeout-ms': '10000' }],
    ['with a deadline that is none', [], { 'grpc-timeout': 'x', 'connect-timeout-ms': 'x' }],
  ])('%s', async (_, chunks, headers) => {
    await sides.same({ contentType, chunks, headers: { authorization: `Bearer ${seenToken}`, ...headers } });
  });
});

test('answers are encoded as the generated code has it', async () => {
  const answers = fc.oneof(
    fc.record({
      id: fc.constantFrom('1-0', '1700000000000-12', `${2n ** 64n - 1n}-${2n ** 64n - 1n}`),
      duplicate: fc.boolean(),
    }),
    fc.constantFrom(new Refusal('stream_ended'), new Refusal('broker_away'), new Refusal('earlier_refused')),
  );
  const property = fc.property(
    fc.oneof(fc.nat(300), fc.nat(Number.MAX_SAFE_INTEGER - 100)),
    fc.array(answers, { maxLength: 10 }),
    (position, made) => {
      const typed = made.map((answer) =>
        answer instanceof Refusal ? answer : { ...answer, id: answer.id as EntryId },
      );
      const expected = typed.map((answer, n) =>
        encodeEnvelope(
          0,
          toBinary(
            PublishStreamResponseSchema,
            create(PublishStreamResponseSchema, { position: BigInt(position + n), result: resultOf(answer) }),
          ),
        ),
      );
      expect(encodeAnswers(position, typed)).toEqual(Buffer.concat(expected));
    },
  );
  await fc.assert(property);
});
