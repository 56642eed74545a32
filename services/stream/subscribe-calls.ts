import { fromBinary, fromJsonString } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import {
  StreamService,
  type SubscribeRequest,
  SubscribeRequestSchema,
} from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { bearer, type Gate } from '#lib/server/gate.ts';
import { REQUEST_TIMEOUT_MS, RPC_MAX_MESSAGE_BYTES } from '#lib/server/limits.ts';
import type { NodeHandler } from '#lib/server/node-handler.ts';
import { forgetHead, headerOf, type NodeServerRequest, type NodeServerResponse } from '#lib/server/node-http.ts';
import { giveBack, type RawRpc, readBodyUpTo } from '#lib/server/raw-rpc.ts';
import { toRpcError } from '#lib/server/rpc.ts';
import { ByteSink } from './byte-sink.ts';
import type { Listeners } from './listeners.ts';
import { type RpcFace, rpcFaces } from './rpc-face.ts';
import { subscribe } from './subscribe.ts';

/** Of a frame, before its message: flags, and the length. */
const FRAME_HEAD_BYTES = 5;
/** A later deadline is none: timers can't wait for it. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export interface SubscribeCallsOptions {
  readonly gate: Gate;
  readonly listeners: Listeners;
  readonly onError: (error: unknown) => void;
}

/**
 * StreamService.Subscribe without connect-node, which would encode every message for every listener: the ordinary calls
 * of gRPC, gRPC-Web and Connect's binary and JSON streams. The rest of Subscribe is {@link subscribeResponses}.
 */
export function subscribeCalls(options: SubscribeCallsOptions): RawRpc {
  const { parent, name } = StreamService.method.subscribe;
  return {
    path: `/${parent.typeName}/${name}`,
    handle(request, response, pass) {
      const call = ordinary(request);
      if (call === undefined) pass(request, response);
      else void answer(call, request, response, pass, options);
    },
  };
}

interface Call {
  readonly face: RpcFace;
  readonly timeoutMs: number | undefined;
}

function ordinary(request: NodeServerRequest): Call | undefined {
  if (request.method !== 'POST') return undefined;
  const face = rpcFaces.get(headerOf(request, 'content-type') ?? '');
  if (face === undefined || (face.http2Only && request.httpVersionMajor !== 2)) return undefined;
  if ((request.headers[face.encodingHeader] ?? 'identity') !== 'identity') return undefined;
  const { timeoutMs, error } = face.parseTimeout(headerOf(request, face.timeoutHeader) ?? null);
  return error === undefined ? { face, timeoutMs } : undefined;
}

async function answer(
  { face, timeoutMs }: Call,
  request: NodeServerRequest,
  response: NodeServerResponse,
  pass: NodeHandler,
  { gate, listeners, onError }: SubscribeCallsOptions,
): Promise<void> {
  const sink = new ByteSink(response, face);
  try {
    if (timeoutMs !== undefined && timeoutMs <= MAX_TIMER_MS) endAfter(timeoutMs, sink, face, response);
    const claims = await gate.authenticateListener(bearer(headerOf(request, 'authorization')));
    const body = await readBodyUpTo(request, FRAME_HEAD_BYTES + RPC_MAX_MESSAGE_BYTES, REQUEST_TIMEOUT_MS);
    if (body === undefined || sink.isGone) return;
    const message = messageOf(body, face);
    if (message === undefined) {
      sink.letGo();
      giveBack(request, body);
      pass(request, response);
      return;
    }
    const joined = await subscribe(message, claims, { wire: sink.wire, sink }, gate, listeners);
    if (joined === 'at_end') sink.end();
    else forgetHead(request);
  } catch (error) {
    sink.finish(face.ending(toRpcError(error, sink.isGone, onError)));
  }
}

/** Undefined: not a single plain frame with a message in it. */
function messageOf(body: Buffer, face: RpcFace): SubscribeRequest | undefined {
  if (body.byteLength < FRAME_HEAD_BYTES || body[0] !== 0) return undefined;
  if (body.readUInt32BE(1) !== body.byteLength - FRAME_HEAD_BYTES) return undefined;
  const data = body.subarray(FRAME_HEAD_BYTES);
  try {
    return face.json
      ? fromJsonString(SubscribeRequestSchema, data.toString('utf8'), { ignoreUnknownFields: true })
      : fromBinary(SubscribeRequestSchema, data);
  } catch {
    return undefined;
  }
}

/** The caller's own deadline, which its library keeps, too: both say the same. */
function endAfter(timeoutMs: number, sink: ByteSink, face: RpcFace, response: NodeServerResponse): void {
  const timer = setTimeout(() => {
    sink.finish(face.ending(new ConnectError('the operation timed out', Code.DeadlineExceeded)));
    sink.onGone();
  }, timeoutMs);
  response.on('close', () => clearTimeout(timer));
}
