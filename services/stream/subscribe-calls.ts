import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import {
  type DescMessage,
  type DescMethodServerStreaming,
  fromBinary,
  fromJsonString,
  type MessageShape,
} from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { StreamService } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import type { StreamClaims } from '#lib/auth/stream-token.ts';
import { bearer, type Gate } from '#lib/server/gate.ts';
import type { H2Route } from '#lib/server/h2-route.ts';
import { REQUEST_TIMEOUT_MS, RPC_MAX_MESSAGE_BYTES } from '#lib/server/limits.ts';
import { forgetHead, headerOf, type NodeServerRequest, type NodeServerResponse } from '#lib/server/node-http.ts';
import { giveBack, type RawRpc, readBodyUpTo } from '#lib/server/raw-rpc.ts';
import { toRpcError } from '#lib/server/rpc.ts';
import { FRAME_HEAD_BYTES } from '#lib/server/rpc-frames.ts';
import type { ByteSink } from './byte-sink.ts';
import type { ControlNotice } from './delivery.ts';
import type { Listeners } from './listeners.ts';
import { subscribeMany } from './many-channels.ts';
import { manyRpcFaces } from './many-rpc-wire.ts';
import { ResponseSink } from './response-sink.ts';
import { type RpcFace, rpcFaces } from './rpc-face.ts';
import { StreamSink } from './stream-sink.ts';
import { subscribe } from './subscribe.ts';
import { type TokenHolds, tellingAll } from './token-holds.ts';

/** A later deadline is none: timers can't wait for it. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export interface SubscribeCallsOptions {
  readonly gate: Gate;
  readonly listeners: Listeners;
  readonly holds: TokenHolds;
  readonly onError: (error: unknown) => void;
}

type SpeakingWire = { control(notice: ControlNotice, cursor: undefined): Uint8Array };

/** A call that is answered with a stream of events. */
interface Subscription<I extends DescMessage, W> {
  readonly method: DescMethodServerStreaming<I>;
  readonly faces: ReadonlyMap<string, RpcFace<W>>;
  /** @throws Refusal */
  begin(request: MessageShape<I>, claims: StreamClaims, sink: ByteSink<W>): Promise<'following' | 'at_end'>;
}

/**
 * StreamService.Subscribe and SubscribeMany without connect-node, which would encode every message for every listener: the
 * ordinary calls of gRPC, gRPC-Web and Connect's binary and JSON streams. The rest are {@link subscribeResponses} and
 * {@link subscribeManyResponses}.
 */
export function subscribeCalls(options: SubscribeCallsOptions): { rawRpcs: RawRpc[]; h2Routes: H2Route[] } {
  const { gate, listeners } = options;
  const one = waysIn(options, {
    method: StreamService.method.subscribe,
    faces: rpcFaces,
    begin: (request, claims, sink) => subscribe(request, claims, { wire: sink.wire, sink }, gate, listeners),
  });
  const many = waysIn(options, {
    method: StreamService.method.subscribeMany,
    faces: manyRpcFaces,
    begin: (request, claims, sink) =>
      subscribeMany(request, claims, { wire: sink.wire, sink, wantsDrainNotice: () => true }, gate, listeners),
  });
  return { rawRpcs: [one.rawRpc, many.rawRpc], h2Routes: [one.h2Route, many.h2Route] };
}

function waysIn<I extends DescMessage, W extends SpeakingWire>(
  options: SubscribeCallsOptions,
  subscription: Subscription<I, W>,
): { rawRpc: RawRpc; h2Route: H2Route } {
  const { parent, name } = subscription.method;
  const path = `/${parent.typeName}/${name}`;
  return {
    rawRpc: {
      path,
      handle(request, response, pass) {
        const call = ordinary(request, subscription.faces);
        // What gets here on h2 is what the route below has passed on.
        if (call === undefined || request.method !== 'POST' || request.httpVersionMajor === 2) {
          pass(request, response);
          return;
        }
        const passBody = (body: Buffer) => {
          giveBack(request, body);
          pass(request, response);
        };
        const sink = new ResponseSink(response, call.face);
        void answer(subscription, { ...call, request, response, sink, pass: passBody }, options).then((joined) => {
          if (joined === 'following') forgetHead(request);
        });
      },
    },
    h2Route: {
      takes: (headers) => headers[':path'] === path && headers[':method'] === 'POST',
      handle({ stream, headers, laneOf, pass }) {
        const call = ordinary({ headers, httpVersionMajor: 2 }, subscription.faces);
        if (call === undefined) {
          pass();
          return;
        }
        const sink = new StreamSink({ stream, laneOf }, call.face);
        void answer(subscription, { ...call, request: stream, response: stream, sink, pass }, options);
      },
    },
  };
}

interface Call<W> {
  readonly headers: IncomingHttpHeaders;
  readonly face: RpcFace<W>;
  readonly timeoutMs: number | undefined;
}

function ordinary<W>(
  { headers, httpVersionMajor }: { readonly headers: IncomingHttpHeaders; readonly httpVersionMajor: number },
  faces: ReadonlyMap<string, RpcFace<W>>,
): Call<W> | undefined {
  const face = faces.get(headerOf({ headers }, 'content-type') ?? '');
  if (face === undefined || (face.http2Only && httpVersionMajor !== 2)) return undefined;
  if ((headers[face.encodingHeader] ?? 'identity') !== 'identity') return undefined;
  const { timeoutMs, error } = face.parseTimeout(headerOf({ headers }, face.timeoutHeader) ?? null);
  return error === undefined ? { headers, face, timeoutMs } : undefined;
}

interface AnsweredCall<W> extends Call<W> {
  readonly request: NodeServerRequest | ServerHttp2Stream;
  readonly response: Pick<ServerHttp2Stream, 'on'> | NodeServerResponse;
  readonly sink: ByteSink<W>;
  pass(body: Buffer): void;
}

async function answer<I extends DescMessage, W extends SpeakingWire>(
  { method, begin }: Subscription<I, W>,
  { headers, face, timeoutMs, request, response, sink, pass }: AnsweredCall<W>,
  { gate, holds, onError }: SubscribeCallsOptions,
): Promise<'following' | undefined> {
  try {
    if (timeoutMs !== undefined && timeoutMs <= MAX_TIMER_MS) endAfter(timeoutMs, sink, face, response);
    const claims = await gate.authenticateListener(bearer(headerOf({ headers }, 'authorization')));
    const body = await readBodyUpTo(request, FRAME_HEAD_BYTES + RPC_MAX_MESSAGE_BYTES, REQUEST_TIMEOUT_MS);
    if (body === undefined || sink.isGone) return undefined;
    const message = messageOf(method.input, body, face.json);
    if (message === undefined) {
      sink.letGo();
      pass(body);
      return undefined;
    }
    const joined = await holds.hold(claims, tellingAll(sink, sink.wire), () => begin(message, claims, sink));
    if (joined === 'following') return joined;
    sink.end();
  } catch (error) {
    sink.finish(face.ending(toRpcError(error, sink.isGone, onError)));
  }
  return undefined;
}

/** Undefined: not a single plain frame with a message in it. */
function messageOf<I extends DescMessage>(schema: I, body: Buffer, json: boolean): MessageShape<I> | undefined {
  if (body.byteLength < FRAME_HEAD_BYTES || body[0] !== 0) return undefined;
  if (body.readUInt32BE(1) !== body.byteLength - FRAME_HEAD_BYTES) return undefined;
  const data = body.subarray(FRAME_HEAD_BYTES);
  try {
    return json
      ? fromJsonString(schema, data.toString('utf8'), { ignoreUnknownFields: true })
      : fromBinary(schema, data);
  } catch {
    return undefined;
  }
}

/** The caller's own deadline, which its library keeps, too: both say the same. */
function endAfter<W>(
  timeoutMs: number,
  sink: ByteSink<W>,
  face: RpcFace<W>,
  response: AnsweredCall<W>['response'],
): void {
  const timer = setTimeout(() => {
    sink.finish(face.ending(new ConnectError('the operation timed out', Code.DeadlineExceeded)));
    sink.onGone();
  }, timeoutMs);
  response.on('close', () => clearTimeout(timer));
}
