import type { ServerHttp2Stream } from 'node:http2';
import { fromBinary } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { PublishService, PublishStreamRequestSchema } from '#gen/tideway/stream/v1/publish_service_pb.ts';
import type { PublishClaims } from '#lib/auth/publish-token.ts';
import { scanMessage } from '#lib/broker/scan-message.ts';
import { WireReader } from '#lib/broker/wire-reader.ts';
import { RPC_MAX_MESSAGE_BYTES } from '#lib/server/limits.ts';
import { headerOf, type NodeServerRequest, type NodeServerResponse } from '#lib/server/node-http.ts';
import type { RawRpc } from '#lib/server/raw-rpc.ts';
import { Refusal } from '#lib/server/refusal.ts';
import { toRpcError } from '#lib/server/rpc.ts';
import { connectEndFrame, FrameReader, grpcTrailers } from '#lib/server/rpc-frames.ts';
import { Pipeline } from './pipeline.ts';
import { acceptDecoded, type PublishStreamContext, requireUnexpired } from './publish-stream.ts';
import { encodeAnswers, encodeCancelled } from './publish-stream-answers.ts';

export interface PublishStreamCallsOptions extends Omit<PublishStreamContext, 'claims'> {
  /** Aborted when this server drains. */
  readonly draining: AbortSignal;
  readonly onError: (error: unknown) => void;
}

/**
 * PublishStream without connect-node, which costs more a message than all that is done with it: the ordinary calls of gRPC
 * and of Connect's binary streams. The bytes of a message that can be scanned are stored as they came; what is around it
 * in its frame says nothing that is kept. The rest of PublishStream is {@link publishStream}.
 */
export function publishStreamCalls(options: PublishStreamCallsOptions): RawRpc {
  const { parent, name } = PublishService.method.publishStream;
  return {
    path: `/${parent.typeName}/${name}`,
    handle(request, response, pass) {
      const isGrpc = protocolOf(request) === 'grpc';
      const { gate } = options;
      const begin = (claims: PublishClaims) => {
        if ('stream' in response && !response.stream.destroyed)
          new StreamCall(response, isGrpc, { ...options, claims });
      };
      // Who is not let in is told so by connect-node.
      const refuse = () => pass(request, response);
      if (protocolOf(request) === undefined || !('stream' in response)) return refuse();
      try {
        const admitted = gate.authenticatePublisher(headerOf(request, 'authorization'));
        if (admitted instanceof Promise) admitted.then(begin, refuse);
        else begin(admitted);
      } catch {
        refuse();
      }
    },
  };
}

/** Undefined: not an ordinary call. Deadlines, compression and JSON are connect-node's. */
function protocolOf(request: NodeServerRequest): 'grpc' | 'connect' | undefined {
  const { headers } = request;
  if (request.method !== 'POST' || request.httpVersionMajor !== 2) return undefined;
  switch (headers['content-type']) {
    case 'application/grpc':
    case 'application/grpc+proto':
      return (headers['grpc-encoding'] ?? 'identity') === 'identity' && headers['grpc-timeout'] === undefined
        ? 'grpc'
        : undefined;
    case 'application/connect+proto':
      return (headers['connect-content-encoding'] ?? 'identity') === 'identity' &&
        headers['connect-timeout-ms'] === undefined
        ? 'connect'
        : undefined;
    default:
      return undefined;
  }
}

type H2Response = Extract<NodeServerResponse, { readonly stream: ServerHttp2Stream }>;

class StreamCall {
  readonly #response: H2Response;
  readonly #stream: ServerHttp2Stream;
  readonly #isGrpc: boolean;
  readonly #context: PublishStreamCallsOptions & PublishStreamContext;
  readonly #pipeline: Pipeline;
  readonly #frames: FrameReader;
  #position = 0;
  #isRead = false;
  #readError: unknown;
  #isOver = false;
  #isWriting = false;
  #mustDrain = false;

  constructor(response: H2Response, isGrpc: boolean, context: PublishStreamCallsOptions & PublishStreamContext) {
    this.#response = response;
    this.#stream = response.stream;
    this.#isGrpc = isGrpc;
    this.#context = context;
    this.#frames = new FrameReader(RPC_MAX_MESSAGE_BYTES, (data) => this.#accept(data));
    this.#pipeline = new Pipeline({
      ...context,
      onAnswers: () => this.#writeSoon(),
      onFailure: (error) => this.#fail(error),
    });
    response.writeHead(200, { 'content-type': isGrpc ? 'application/grpc+proto' : 'application/connect+proto' });
    const stream = this.#stream;
    stream.on('data', (chunk: Buffer) => this.#read(chunk));
    // A call of nothing may have ended while its token was looked at: that is not said again.
    if (stream.readableEnded) this.#readEnd();
    else stream.on('end', () => this.#readEnd(this.#frames.problemAtEnd()));
    stream.on('drain', () => {
      this.#mustDrain = false;
      this.#writeSoon();
    });
    stream.on('close', () => this.#leave());
    context.draining.addEventListener('abort', this.#drain, { once: true });
    if (context.draining.aborted) this.#drain();
  }

  #read(chunk: Buffer): void {
    if (this.#isOver || this.#isRead) return;
    try {
      this.#frames.read(chunk);
    } catch (error) {
      this.#readEnd(error);
    }
    this.#pipeline.flush();
    this.#regulate();
  }

  /** What came before an error is answered first. */
  #readEnd(error?: unknown): void {
    if (this.#isOver || this.#isRead) return;
    this.#isRead = true;
    this.#readError = error;
    this.#writeSoon();
  }

  #accept(data: Buffer): void {
    const { gate, claims } = this.#context;
    const from = messageAt(data);
    const head = from < 0 ? undefined : scanMessage(data, from, data.length);
    if (head === undefined || head.orgId === 0n) {
      acceptDecoded(this.#pipeline, decode(data), this.#context);
      return;
    }
    try {
      requireUnexpired(claims);
      gate.requireClaims(claims, head.orgId, head.channelId);
      this.#pipeline.push(head, data.subarray(from));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.#pipeline.refuse(error);
    }
  }

  /** Reads as fast as there are answers, and as they are taken: the caller's flow control holds back the rest. */
  #regulate(): void {
    if (this.#isOver) return;
    const isHeldBack = this.#pipeline.isFull || this.#mustDrain;
    if (isHeldBack && !this.#stream.isPaused()) this.#stream.pause();
    else if (!isHeldBack && this.#stream.isPaused()) this.#stream.resume();
  }

  /** What is answered in one turn is one write. */
  #writeSoon(): void {
    if (this.#isWriting || this.#isOver) return;
    this.#isWriting = true;
    setImmediate(() => {
      this.#isWriting = false;
      this.#write();
    });
  }

  #write(): void {
    if (this.#isOver || this.#mustDrain) return;
    this.#writeAnswers();
    if (this.#isRead && this.#pipeline.isEmpty) {
      this.#finish(this.#readError ?? (this.#context.draining.aborted ? new Refusal('draining') : undefined));
    } else {
      this.#regulate();
    }
  }

  #writeAnswers(): void {
    const answers = this.#pipeline.take();
    if (answers.length > 0) {
      const bytes = encodeAnswers(this.#position, answers);
      this.#position += answers.length;
      this.#mustDrain = !this.#response.write(bytes);
    }
    const cancelled = this.#pipeline.takeCancelled();
    if (cancelled.length > 0) this.#mustDrain = !this.#response.write(encodeCancelled(cancelled));
  }

  readonly #drain = (): void => {
    this.#isRead = true;
    this.#pipeline.stop();
    this.#writeSoon();
  };

  #fail(error: unknown): void {
    if (this.#isOver) return;
    // What is answered already is said before.
    this.#writeAnswers();
    this.#finish(error);
  }

  #finish(error: unknown): void {
    this.#leave();
    const rpcError = error === undefined ? undefined : toRpcError(error, this.#stream.destroyed, this.#context.onError);
    if (this.#stream.destroyed) return;
    if (this.#isGrpc) this.#response.addTrailers(grpcTrailers(rpcError));
    else this.#response.write(connectEndFrame(rpcError));
    this.#response.end();
    // What comes after that is for nobody.
    this.#stream.resume();
  }

  #leave(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#context.draining.removeEventListener('abort', this.#drain);
    this.#pipeline.stop();
  }
}

const MESSAGE = 0x0a;

/** Where the message begins that is all there is in the frame; -1: it is not as usual. */
function messageAt(data: Buffer): number {
  reader.at = 0;
  if (data[reader.at++] !== MESSAGE) return -1;
  return reader.delimitedEnd(data, data.length) === data.length ? reader.at : -1;
}

/** One for all frames: none is ever interrupted by another. */
const reader = new WireReader();

function decode(data: Buffer) {
  try {
    return fromBinary(PublishStreamRequestSchema, data).message;
  } catch (error) {
    throw new ConnectError(`parse binary: ${error instanceof Error ? error.message : ''}`, Code.Internal);
  }
}
