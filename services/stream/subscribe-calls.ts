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
import { REQUEST_TIMEOUT_MS, RPC_MAX_MESSAGE_BYTES } from '#lib/server/limits.ts';
import type { NodeHandler } from '#lib/server/node-handler.ts';
import { forgetHead, headerOf, type NodeServerRequest, type NodeServerResponse } from '#lib/server/node-http.ts';
import { giveBack, type RawRpc, readBodyUpTo } from '#lib/server/raw-rpc.ts';
import { toRpcError } from '#lib/server/rpc.ts';
import { ByteSink } from './byte-sink.ts';
import type { ControlNotice } from './delivery.ts';
import type { Listeners } from './listeners.ts';
import { subscribeMany } from './many-channels.ts';
import { manyRpcFaces } from './many-rpc-wire.ts';
import { type RpcFace, rpcFaces } from './rpc-face.ts';
import { subscribe } from './subscribe.ts';
import { type TokenHolds, tellingAll } from './token-holds.ts';

/** Of a frame, before its message: flags, and the length. */
const FRAME_HEAD_BYTES = 5;
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
export function subscribeCalls(options: SubscribeCallsOptions): RawRpc[] {
  const { gate, listeners } = options;
  return [
    rawRpc(options, {
      method: StreamService.method.subscribe,
      faces: rpcFaces,
      begin: (request, claims, sink) => subscribe(request, claims, { wire: sink.wire, sink }, gate, listeners),
    }),
    rawRpc(options, {
      method: StreamService.method.subscribeMany,
      faces: manyRpcFaces,
      begin: (request, claims, sink) =>
        subscribeMany(request, claims, { wire: sink.wire, sink, wantsDrainNotice: () => true }, gate, listeners),
    }),
  ];
}

function rawRpc<I extends DescMessage, W extends SpeakingWire>(
  options: SubscribeCallsOptions,
  subscription: Subscription<I, W>,
): RawRpc {
  const { parent, name } = subscription.method;
  return {
    path: `/${parent.typeName}/${name}`,
    handle(request, response, pass) {
      const call = ordinary(request, subscription.faces);
      if (call === undefined) pass(request, response);
      else void answer(subscription, call, request, response, pass, options);
    },
  };
}

interface Call<W> {
  readonly face: RpcFace<W>;
  readonly timeoutMs: number | undefined;
}

function ordinary<W>(request: NodeServerRequest, faces: ReadonlyMap<string, RpcFace<W>>): Call<W> | undefined {
  if (request.method !== 'POST') return undefined;
  const face = faces.get(headerOf(request, 'content-type') ?? '');
  if (face === undefined || (face.http2Only && request.httpVersionMajor !== 2)) return undefined;
  if ((request.headers[face.encodingHeader] ?? 'identity') !== 'identity') return undefined;
  const { timeoutMs, error } = face.parseTimeout(headerOf(request, face.timeoutHeader) ?? null);
  return error === undefined ? { face, timeoutMs } : undefined;
}

async function answer<I extends DescMessage, W extends SpeakingWire>(
  { method, begin }: Subscription<I, W>,
  { face, timeoutMs }: Call<W>,
  request: NodeServerRequest,
  response: NodeServerResponse,
  pass: NodeHandler,
  { gate, holds, onError }: SubscribeCallsOptions,
): Promise<void> {
  const sink = new ByteSink(response, face);
  try {
    if (timeoutMs !== undefined && timeoutMs <= MAX_TIMER_MS) endAfter(timeoutMs, sink, face, response);
    const claims = await gate.authenticateListener(bearer(headerOf(request, 'authorization')));
    const body = await readBodyUpTo(request, FRAME_HEAD_BYTES + RPC_MAX_MESSAGE_BYTES, REQUEST_TIMEOUT_MS);
    if (body === undefined || sink.isGone) return;
    const message = messageOf(method.input, body, face.json);
    if (message === undefined) {
      sink.letGo();
      giveBack(request, body);
      pass(request, response);
      return;
    }
    const joined = await holds.hold(claims, tellingAll(sink, sink.wire), () => begin(message, claims, sink));
    if (joined === 'at_end') sink.end();
    else forgetHead(request);
  } catch (error) {
    sink.finish(face.ending(toRpcError(error, sink.isGone, onError)));
  }
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
function endAfter<W>(timeoutMs: number, sink: ByteSink<W>, face: RpcFace<W>, response: NodeServerResponse): void {
  const timer = setTimeout(() => {
    sink.finish(face.ending(new ConnectError('the operation timed out', Code.DeadlineExceeded)));
    sink.onGone();
  }, timeoutMs);
  response.on('close', () => clearTimeout(timer));
}
