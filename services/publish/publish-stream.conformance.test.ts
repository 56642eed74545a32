import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect, type IncomingHttpHeaders } from 'node:http2';
import { create, fromBinary, type JsonObject, toBinary } from '@bufbuild/protobuf';
import { encodeEnvelope } from '@connectrpc/connect/protocol';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Phase, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import { PublishStreamRequestSchema, PublishStreamResponseSchema } from '#gen/tideway/stream/v1/publish_service_pb.ts';
import { keysFromPem } from '#lib/auth/key-source.ts';
import { createPublishTokenVerifier } from '#lib/auth/publish-token.ts';
import { AUDIENCE, ISSUER, makeKeys } from '#lib/auth/testing.ts';
import { type Broker, channelKey } from '#lib/broker/broker.ts';
import { BEFORE_ALL, type EntryId } from '#lib/broker/entry-id.ts';
import { createMemoryBroker } from '#lib/broker/memory-broker.ts';
import { Gate } from '#lib/server/gate.ts';
import { Refusal } from '#lib/server/refusal.ts';
import { type RunningService, runService } from '#lib/server/run-service.ts';
import { createLogger } from '#lib/telemetry/logger.ts';
import { resultOf } from './publish-stream.ts';
import { encodeAnswers } from './publish-stream-answers.ts';
import { publishService } from './routes.ts';

// A publisher is answered what connect-node would have answered it: every call is made twice, of two services that differ
// in that alone, with brokers of one clock, and what comes back and what is stored is compared.

interface Side {
  readonly name: string;
  readonly broker: Broker;
  readonly service: RunningService;
}

/** For what hangs, not for what is slow. */
const CALL_DEADLINE_MS = 15_000;

const keys = makeKeys('EdDSA');
let ours: Side;
let theirs: Side;
/** One that was seen before is let in at once, a new one when it is verified: the call may be over by then. */
let seenToken: string;

async function start(isRaw: boolean): Promise<Side> {
  const logger = createLogger('test', 'silent');
  const broker = createMemoryBroker({ now: () => 1_700_000_000_000 });
  const publishTokens = createPublishTokenVerifier({
    issuer: ISSUER,
    audience: AUDIENCE,
    keys: [keysFromPem({ name: 'KEY', pem: keys.publicPem })],
  });
  const part = publishService({
    gate: new Gate({ publishTokens }),
    broker,
    logger,
    ratePerSec: 0,
    streamRatePerSec: 0,
  });
  const parts = [isRaw ? part : { ...part, rawRpcs: [] }];
  const service = await runService({
    host: '127.0.0.1',
    port: 0,
    broker,
    parts,
    reflection: false,
    drainTimeoutMs: 400,
    logger,
  });
  return { name: isRaw ? 'ours' : 'connect-node', broker, service };
}

beforeAll(async () => {
  [ours, theirs] = [await start(true), await start(false)];
  seenToken = await newToken();
  await same({ contentType: 'application/grpc', chunks: [encodeEnvelope(0, new Uint8Array())] });
});
afterAll(async () => {
  await ours?.service.stop();
  await theirs?.service.stop();
});

function newToken(): Promise<string> {
  const exp = Math.floor(Date.now() / 1000) + 600;
  return keys.sign({ iss: ISSUER, aud: AUDIENCE, exp, jti: randomUUID() });
}

interface Call {
  readonly contentType: string;
  readonly chunks: readonly Uint8Array[];
  readonly headers?: Record<string, string>;
}

async function call({ name, service }: Side, { contentType, chunks, headers = {} }: Call) {
  const session = connect(`http://127.0.0.1:${service.port}`);
  const stream = session.request({
    ':method': 'POST',
    ':path': '/tideway.stream.v1.PublishService/PublishStream',
    'content-type': contentType,
    te: 'trailers',
    authorization: `Bearer ${seenToken}`,
    ...headers,
  });
  let trailers: IncomingHttpHeaders = {};
  stream.on('trailers', (received) => {
    trailers = received;
  });
  const deadline = setTimeout(() => {
    stream.destroy(new Error(`${name} has not answered within ${CALL_DEADLINE_MS} ms`));
  }, CALL_DEADLINE_MS);
  const answered = once(stream, 'response') as Promise<[IncomingHttpHeaders]>;
  for (const chunk of chunks) stream.write(chunk);
  stream.end();
  const [{ date: _, ...head }] = await answered;
  const body = Buffer.concat(await stream.toArray());
  clearTimeout(deadline);
  session.destroy();
  return { head: { ...head }, body: body.toString('latin1'), trailers: { ...trailers } };
}

async function same(made: Call) {
  const [our, their] = await Promise.all([call(ours, made), call(theirs, made)]);
  expect(our).toEqual(their);
  return our;
}

const CHANNELS = ['0190a8a0-0000-7000-8000-000000000001', '0190A8A0-0000-7000-8000-00000000000A'];
const CONTENT_TYPES = ['application/grpc', 'application/grpc+proto', 'application/connect+proto'];

const payloads = fc.option(
  fc.dictionary(fc.string({ unit: 'grapheme', maxLength: 8 }), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 3 }),
  { nil: undefined },
);
const messages = fc
  .record({
    channelId: fc.constantFrom(...CHANNELS, ...CHANNELS, 'no channel'),
    messageId: fc.constantFrom(...Array.from({ length: 8 }, (_, n) => `0190a8a0-0000-7000-9000-00000000000${n}`), 'x'),
    phase: fc.oneof(
      { weight: 20, arbitrary: fc.constantFrom(Phase.DELTA, Phase.START, Phase.ERROR) },
      { weight: 1, arbitrary: fc.constantFrom(Phase.END, Phase.UNSPECIFIED, 9 as Phase) },
    ),
    sequence: fc.constantFrom(0n, 1n, 300n, 2n ** 64n - 1n),
    orgId: fc.constantFrom(1n, 1n, 1n, 2n, 0n),
    payload: payloads,
  })
  .map(({ payload, phase, ...fields }) =>
    toBinary(
      PublishRequestSchema,
      create(PublishRequestSchema, {
        ...fields,
        phase: phase as Phase,
        ...(payload && { payload: payload as JsonObject }),
      }),
    ),
  );
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

function asField(data: Uint8Array): Uint8Array {
  const length = [];
  let rest = data.length;
  for (; rest > 127; rest >>= 7) length.push((rest & 127) | 128);
  return Buffer.from([0x0a, ...length, rest, ...data]);
}

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const sorted = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [...sorted, bytes.length].map((end, n) => bytes.subarray(sorted[n - 1] ?? 0, end));
}

test('any sequence of messages, cut anywhere, is answered and stored as connect-node has it', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...CONTENT_TYPES),
      fc.array(frames, { maxLength: 40 }),
      fc.array(fc.nat(), { maxLength: 4 }),
      fc.boolean(),
      async (contentType, made, places, isNew) => {
        const body = Buffer.concat(made.map((frame) => encodeEnvelope(0, frame)));
        const authorization = `Bearer ${isNew ? await newToken() : seenToken}`;
        await same({ contentType, chunks: cut(body, places), headers: { authorization } });
        for (const channelId of CHANNELS) {
          for (const orgId of [1n, 2n]) {
            const channel = channelKey(orgId, channelId);
            const [our, their] = await Promise.all(
              [ours, theirs].map(({ broker }) => broker.read(channel, BEFORE_ALL, 10_000)),
            );
            expect(our).toEqual(their);
          }
        }
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
    const headers = { authorization: `Bearer ${await newToken()}` };
    await same({ contentType, chunks, headers });
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
    await same({ contentType, chunks, ...(headers && { headers }) });
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
