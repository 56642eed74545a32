import { create, type DescMessage, type MessageShape, toBinary, toJsonString } from '@bufbuild/protobuf';
import { encodeEnvelope } from '@connectrpc/connect/protocol';
import fc from 'fast-check';
import { onTestFinished } from 'vitest';
import { Phase, type PublishRequest, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import { type Broker, channelKey } from '#lib/broker/broker.ts';
import { createMemoryBroker } from '#lib/broker/memory-broker.ts';
import {
  type BothWays,
  type HttpVersion,
  ORG_ID,
  type RawAnswer,
  type RawCall,
  serveBothWays,
} from './subscribe-testing.ts';

/** What the conformance tests of Subscribe and SubscribeMany share: every format, calls in it, and messages of all kinds. */

export interface Format {
  readonly name: string;
  readonly contentType: string;
  readonly httpVersion: HttpVersion;
}

export const FORMATS: readonly Format[] = [
  { name: 'gRPC', contentType: 'application/grpc', httpVersion: 2 },
  { name: 'gRPC, +proto', contentType: 'application/grpc+proto', httpVersion: 2 },
  { name: 'gRPC-Web', contentType: 'application/grpc-web', httpVersion: 2 },
  { name: 'gRPC-Web, +proto, over HTTP/1.1', contentType: 'application/grpc-web+proto', httpVersion: 1 },
  { name: 'Connect, binary', contentType: 'application/connect+proto', httpVersion: 2 },
  { name: 'Connect, binary, over HTTP/1.1', contentType: 'application/connect+proto', httpVersion: 1 },
  { name: 'gRPC, in a lane', contentType: 'application/grpc', httpVersion: '2, in lanes' },
  { name: 'gRPC-Web, in a lane', contentType: 'application/grpc-web', httpVersion: '2, in lanes' },
  { name: 'Connect, JSON, in a lane', contentType: 'application/connect+json', httpVersion: '2, in lanes' },
  { name: 'Connect, JSON', contentType: 'application/connect+json', httpVersion: 2 },
  { name: 'Connect, JSON, over HTTP/1.1', contentType: 'application/connect+json', httpVersion: 1 },
];

export async function startBothWays(
  broker: Broker = createMemoryBroker(),
  more?: { maxListeners?: number },
): Promise<BothWays> {
  onTestFinished(() => broker.close());
  const both = await serveBothWays(broker, more);
  onTestFinished(() => both.stop());
  return both;
}

/** A call with one message, as clients of the format write it. */
export function callOf<Desc extends DescMessage>(
  { contentType, httpVersion }: Format,
  token: string | undefined,
  schema: Desc,
  message: MessageShape<Desc>,
  headers: Record<string, string> = {},
): RawCall {
  const data = contentType.endsWith('json')
    ? new TextEncoder().encode(toJsonString(schema, message))
    : toBinary(schema, message);
  return {
    httpVersion,
    body: encodeEnvelope(0, data),
    headers: {
      'content-type': contentType,
      ...(contentType.includes('connect') ? { 'connect-protocol-version': '1' } : {}),
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...headers,
    },
  };
}

/** Headers that are not the connection's. */
export function ownHeaders({ headers }: RawAnswer): Record<string, unknown> {
  const { connection: _, 'keep-alive': __, 'transfer-encoding': ___, ...own } = headers;
  return own;
}

/** Hears of two bodies, ours and theirs: resolves once something of both is there. */
export function bothHeard(): { readonly onBody: () => void; readonly heard: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  let count = 0;
  const onBody = () => {
    if (++count === 2) resolve();
  };
  return { onBody, heard: promise };
}

export interface Published {
  readonly phase?: Phase;
  readonly sequence?: bigint;
  readonly messageId?: string;
  readonly payload?: object | undefined;
  readonly coalesceWindowMs?: number;
}

let nextMessage = 0;

/** With ids as they came, which may be in capitals. */
export async function publish(broker: Broker, channelId: string, init: Published = {}): Promise<PublishRequest> {
  const { payload, ...rest } = init;
  const message = create(PublishRequestSchema, {
    channelId,
    messageId: crypto.randomUUID(),
    phase: Phase.DELTA,
    sequence: BigInt(nextMessage++),
    ...rest,
    ...(payload === undefined ? {} : { payload: payload as never }),
  });
  await broker.publish(
    channelKey(ORG_ID, channelId.toLowerCase()),
    { ...message, messageId: message.messageId.toLowerCase(), data: toBinary(PublishRequestSchema, message) },
    { name: 'unary', perSec: 0 },
  );
  return message;
}

export const unicode = fc.string({ unit: 'grapheme', maxLength: 40 });
const json = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.constant(null),
    fc.boolean(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    unicode,
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(unicode, tie('value'), { maxKeys: 3, noNullPrototype: true }),
  ),
})).value;
/** What may be published, but for what it is about. */
export const anyMessage: fc.Arbitrary<Published> = fc.record({
  phase: fc.constantFrom(Phase.START, Phase.DELTA, Phase.ERROR),
  sequence: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  messageId: fc.uuid().chain((id) => fc.constantFrom(id, id.toUpperCase())),
  payload: fc.option(fc.dictionary(unicode, json, { maxKeys: 4, noNullPrototype: true }), { nil: undefined }),
});
