import { createRegistry } from '@bufbuild/protobuf';
import { encodeEnvelope } from '@connectrpc/connect/protocol';
import { codeToHttpStatus, errorToJsonBytes } from '@connectrpc/connect/protocol-connect';
import { file_google_rpc_error_details } from '#gen/google/rpc/error_details_pb.ts';
import { PublishService } from '#gen/tideway/stream/v1/publish_service_pb.ts';
import type { PublishClaims } from '#lib/auth/publish-token.ts';
import { REQUEST_TIMEOUT_MS } from '#lib/server/limits.ts';
import type { NodeHandler } from '#lib/server/node-handler.ts';
import { headerOf, type NodeServerRequest, type NodeServerResponse } from '#lib/server/node-http.ts';
import { giveBack, type RawRpc, readBodyUpTo } from '#lib/server/raw-rpc.ts';
import { toRpcError } from '#lib/server/rpc.ts';
import { FRAME_HEAD_BYTES, grpcTrailers } from '#lib/server/rpc-frames.ts';
import { MAX_BATCH_BYTES, type PublishBatchContext, publishScanned } from './publish-batch.ts';
import { encodeBatchResults, scanBatch } from './publish-batch-wire.ts';

export interface PublishBatchCallsOptions extends Omit<PublishBatchContext, 'claims'> {
  readonly onError: (error: unknown) => void;
}

type Protocol = 'grpc' | 'connect';

const registry = createRegistry(file_google_rpc_error_details);

/**
 * PublishBatch without the decoding, checking and encoding anew of each message, which cost five times what storing it does:
 * the ordinary calls of gRPC, and of Connect as protobuf. Messages that can be scanned are stored as they came. Batches with
 * others, and with whatever is wrong before anything is stored, are {@link publishBatch}'s, by connect-node.
 */
export function publishBatchCalls(options: PublishBatchCallsOptions): RawRpc {
  const { parent, name } = PublishService.method.publishBatch;
  return {
    path: `/${parent.typeName}/${name}`,
    handle(request, response, pass) {
      const protocol = protocolOf(request);
      // Who is not let in is told so by connect-node.
      const refuse = () => pass(request, response);
      if (protocol === undefined) return refuse();
      const answer = (claims: PublishClaims) => {
        answerBatch(protocol, request, response, pass, { ...options, claims }).catch(options.onError);
      };
      try {
        const admitted = options.gate.authenticatePublisher(headerOf(request, 'authorization'));
        if (admitted instanceof Promise) admitted.then(answer, refuse);
        else answer(admitted);
      } catch {
        refuse();
      }
    },
  };
}

/** Undefined: not an ordinary call. Deadlines, compression and JSON are connect-node's. */
function protocolOf({ method, headers, httpVersionMajor }: NodeServerRequest): Protocol | undefined {
  if (method !== 'POST') return undefined;
  switch (headers['content-type']) {
    case 'application/grpc':
    case 'application/grpc+proto':
      return httpVersionMajor === 2 &&
        (headers['grpc-encoding'] ?? 'identity') === 'identity' &&
        headers['grpc-timeout'] === undefined
        ? 'grpc'
        : undefined;
    case 'application/proto':
      return (headers['content-encoding'] ?? 'identity') === 'identity' && headers['connect-timeout-ms'] === undefined
        ? 'connect'
        : undefined;
    default:
      return undefined;
  }
}

async function answerBatch(
  protocol: Protocol,
  request: NodeServerRequest,
  response: NodeServerResponse,
  pass: NodeHandler,
  context: PublishBatchCallsOptions & PublishBatchContext,
): Promise<void> {
  const isGrpc = protocol === 'grpc';
  const maxBytes = MAX_BATCH_BYTES + (isGrpc ? FRAME_HEAD_BYTES : 0);
  const body = await readBodyUpTo(request, maxBytes, REQUEST_TIMEOUT_MS);
  if (body === undefined || isGone(response)) return;
  const data = isGrpc ? messageOf(body) : body;
  const scanned = data === undefined || data.byteLength > MAX_BATCH_BYTES ? undefined : scanBatch(data);
  const publishing = scanned === undefined ? undefined : publishScanned(scanned, context);
  if (publishing === undefined) {
    giveBack(request, body);
    pass(request, response);
    return;
  }
  try {
    const encoded = encodeBatchResults(await publishing);
    if (isGone(response)) return;
    if (isGrpc) endGrpc(response, encodeEnvelope(0, encoded), undefined);
    else endConnect(response, 200, { 'content-type': 'application/proto' }, encoded);
  } catch (error) {
    if (isGone(response)) return;
    const rpcError = toRpcError(error, false, context.onError);
    if (isGrpc) endGrpc(response, undefined, rpcError);
    else {
      const headers = { 'content-type': 'application/json', ...Object.fromEntries(rpcError.metadata) };
      endConnect(response, codeToHttpStatus(rpcError.code), headers, errorToJsonBytes(rpcError, { registry }));
    }
  }
}

/** Undefined: not a single plain frame. */
function messageOf(body: Buffer): Buffer | undefined {
  if (body.byteLength < FRAME_HEAD_BYTES || body[0] !== 0) return undefined;
  if (body.readUInt32BE(1) !== body.byteLength - FRAME_HEAD_BYTES) return undefined;
  return body.subarray(FRAME_HEAD_BYTES);
}

function endConnect(
  response: NodeServerResponse,
  status: number,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
): void {
  response.writeHead(status, { ...headers, 'content-length': String(body.byteLength) });
  response.end(body);
}

function endGrpc(
  response: NodeServerResponse,
  frame: Uint8Array | undefined,
  error: Parameters<typeof grpcTrailers>[0],
): void {
  response.writeHead(200, { 'content-type': 'application/grpc+proto' });
  if (frame !== undefined) response.write(frame);
  response.addTrailers(grpcTrailers(error));
  response.end();
}

function isGone(response: NodeServerResponse): boolean {
  return 'stream' in response ? response.stream.destroyed : response.destroyed;
}
