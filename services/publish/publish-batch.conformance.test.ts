import { create, toBinary } from '@bufbuild/protobuf';
import { encodeEnvelope } from '@connectrpc/connect/protocol';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  PublishBatchResponseSchema,
  type PublishBatchResult,
  PublishBatchResultSchema,
} from '#gen/tideway/stream/v1/publish_service_pb.ts';
import { Refusal } from '#lib/server/refusal.ts';
import { toStatus } from '#lib/server/rpc-status.ts';
import { encodeBatchResults, scanBatch } from './publish-batch-wire.ts';
import { asField, CHANNELS, cut, messagesOf, TwoSides } from './publish-testing.ts';

// Channels are shared by all calls: in time they are full, and sealed. One has a rate.
let sides: TwoSides;
let rated: TwoSides;
let authorization: string;

beforeAll(async () => {
  sides = await TwoSides.start('PublishBatch');
  rated = await TwoSides.start('PublishBatch', 3);
  authorization = `Bearer ${await sides.newToken()}`;
});
afterAll(async () => {
  await sides?.stop();
  await rated?.stop();
});

const CONTENT_TYPES = ['application/grpc', 'application/grpc+proto', 'application/proto'];
const bodyOf = (contentType: string, data: Uint8Array) =>
  Buffer.from(contentType === 'application/proto' ? data : encodeEnvelope(0, data));

const ids = Array.from({ length: 40 }, (_, n) => `0190a8a0-0000-7000-8000-0000000000${String(n).padStart(2, '0')}`);
const fields = (weightOfWrong: number) =>
  fc
    .constantFrom(...ids)
    .chain((id) =>
      fc.array(messagesOf({ weightOfWrong, channelIds: [id, id.toUpperCase()] }).map(asField), { maxLength: 70 }),
    );
const bodies = fc.oneof(
  { weight: 10, arbitrary: fields(0).map((made) => Buffer.concat(made)) },
  { weight: 5, arbitrary: fields(1).map((made) => Buffer.concat(made)) },
  { weight: 1, arbitrary: fields(0).map((made) => Buffer.concat([...made, ...made].slice(0, 520))) },
  { weight: 1, arbitrary: fields(0).map((made) => Buffer.concat([...made, Buffer.from([0x78, 1])])) },
  {
    weight: 1,
    arbitrary: fc.tuple(fields(0), fc.nat()).map(([made, at]) => Buffer.concat(made).subarray(0, at % 999)),
  },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 30 }).map((made) => Buffer.from(made)) },
);

test('any batch, cut anywhere, is answered and stored as connect-node has it', async () => {
  const seen: Record<string, number> = {};
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...CONTENT_TYPES),
      bodies,
      fc.array(fc.nat(), { maxLength: 3 }),
      async (contentType, data, places) => {
        const chunks = cut(bodyOf(contentType, data), places);
        const answer = await sides.same({ contentType, chunks, headers: { authorization } });
        const status = answer?.trailers['grpc-status'] ?? answer?.head['grpc-status'] ?? answer?.head[':status'];
        seen[String(status)] = (seen[String(status)] ?? 0) + 1;
        await sides.sameIsStored([1n, 2n], ids);
      },
    ),
    { numRuns: 150, endOnFailure: true },
  );
  // Both ways were gone.
  expect(seen['0']).toBeGreaterThan(20);
  expect(seen['200']).toBeGreaterThan(10);
}, 180_000);

describe.each(CONTENT_TYPES)('a call as %s', (contentType) => {
  const [channelId = ''] = CHANNELS;
  const message = fc.sample(messagesOf({ weightOfWrong: 0, channelIds: [channelId] }), { numRuns: 1, seed: 7 })[0];
  const batch = bodyOf(contentType, asField(message ?? new Uint8Array()));

  test.each<[string, Uint8Array[], Record<string, string>?]>([
    ['of nothing', []],
    ['of one message', [batch]],
    ['that ends too early', [batch.subarray(0, 12)]],
    ['above the limit', [bodyOf(contentType, new Uint8Array(1024 * 1024 + 1))]],
    [
      'of 501 messages',
      [bodyOf(contentType, Buffer.concat(new Array(501).fill(asField(message ?? new Uint8Array()))))],
    ],
    ['of no token', [batch], { authorization: 'Bearer nonsense' }],
    ['in an encoding that nobody knows', [batch], { 'grpc-encoding': 'x', 'content-encoding': 'x' }],
    ['with a deadline', [batch], { 'grpc-timeout': '10S', 'connect-timeout-ms': '10000' }],
  ])('%s', async (_, chunks, headers) => {
    await sides.same({ contentType, chunks, headers: { authorization, ...headers } });
  });

  test('by a token for another channel', async () => {
    const token = await sides.newToken({ channel_id: ids[0] });
    await sides.same({ contentType, chunks: [batch], headers: { authorization: `Bearer ${token}` } });
  });

  test('over the rate', async () => {
    const token = await rated.newToken();
    const id = ids[CONTENT_TYPES.indexOf(contentType)] ?? '';
    const made = fc.sample(messagesOf({ weightOfWrong: 0, channelIds: [id] }), { numRuns: 60, seed: 7 });
    const bodies = made.map((one) => bodyOf(contentType, asField(one)));
    const answers = [];
    for (const body of bodies) {
      answers.push(await rated.same({ contentType, chunks: [body], headers: { authorization: `Bearer ${token}` } }));
    }
    // The clock stands still: more than three different ones are too many.
    const statuses = answers.map((answer) => String(answer?.head['grpc-status'] ?? answer?.head[':status']));
    expect(statuses).toContain(contentType === 'application/proto' ? '429' : '8');
  });
});

test('results are encoded as the generated code has it', async () => {
  const results = fc.oneof(
    fc
      .record({
        id: fc.constantFrom('1-0', '1700000000000-12', `${2n ** 64n - 1n}-${2n ** 64n - 1n}`),
        duplicate: fc.boolean(),
      })
      .map((value) => create(PublishBatchResultSchema, { result: { case: 'published', value } })),
    fc.constant(
      create(PublishBatchResultSchema, { result: { case: 'error', value: toStatus(new Refusal('stream_ended')) } }),
    ),
  );
  await fc.assert(
    fc.property(fc.array(results, { maxLength: 10 }), (made: PublishBatchResult[]) => {
      const expected = toBinary(PublishBatchResponseSchema, create(PublishBatchResponseSchema, { results: made }));
      expect(encodeBatchResults(made)).toEqual(Buffer.from(expected));
    }),
  );
});

test('what was scanned are the bytes that came', async () => {
  await fc.assert(
    fc.property(fc.array(messagesOf({ weightOfWrong: 0 }), { maxLength: 20 }), (made) => {
      const scanned = scanBatch(Buffer.concat(made.map(asField)));
      // The scan has no words for a sequence that is no number, and leaves it to others.
      if (scanned !== undefined) expect(scanned.map(({ data }) => data)).toEqual(made.map((one) => Buffer.from(one)));
    }),
  );
});
