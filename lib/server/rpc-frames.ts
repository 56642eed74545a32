import { createRegistry } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { compressedFlag, encodeEnvelope } from '@connectrpc/connect/protocol';
import { createEndStreamSerialization, endStreamFlag } from '@connectrpc/connect/protocol-connect';
import { grpcStatusOk, headerGrpcStatus, setTrailerStatus } from '@connectrpc/connect/protocol-grpc';
import { file_google_rpc_error_details } from '#gen/google/rpc/error_details_pb.ts';

/** Of a frame, before its message: flags, and the length. gRPC, gRPC-Web and Connect's streams have the same. */
export const FRAME_HEAD_BYTES = 5;

/**
 * Cuts a body into its messages, in place: those that have arrived whole are parts of what came from the network. One
 * that has not waits, and is copied with what follows it.
 */
export class FrameReader {
  readonly #maxMessageBytes: number;
  readonly #onMessage: (data: Buffer) => void;
  #rest: Buffer | undefined;

  constructor(maxMessageBytes: number, onMessage: (data: Buffer) => void) {
    this.#maxMessageBytes = maxMessageBytes;
    this.#onMessage = onMessage;
  }

  /** @throws ConnectError for what connect-node would refuse, in its words. */
  read(chunk: Buffer): void {
    const data = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (data.length - at >= FRAME_HEAD_BYTES) {
      const length = data.readUInt32BE(at + 1);
      // Before it is waited for.
      if (length > this.#maxMessageBytes) {
        const limit = `configured readMaxBytes ${this.#maxMessageBytes}`;
        throw new ConnectError(`message size ${length} is larger than ${limit}`, Code.ResourceExhausted);
      }
      const end = at + FRAME_HEAD_BYTES + length;
      if (end > data.length) break;
      checkFlags(data[at] ?? 0);
      this.#onMessage(data.subarray(at + FRAME_HEAD_BYTES, end));
      at = end;
    }
    this.#rest = at === data.length ? undefined : data.subarray(at);
  }

  /** What is wrong with a body that ends here, if anything is. */
  problemAtEnd(): ConnectError | undefined {
    if (this.#rest === undefined) return undefined;
    return new ConnectError('protocol error: incomplete envelope', Code.InvalidArgument);
  }
}

function checkFlags(flags: number): void {
  if ((flags & compressedFlag) !== 0) {
    throw new ConnectError('received compressed envelope, but do not know how to decompress', Code.Internal);
  }
  if (flags !== 0) throw new ConnectError('unexpected end flag', Code.InvalidArgument);
}

/** What ends a gRPC response; without an error: well. */
export function grpcTrailers(error: ConnectError | undefined): Record<string, string> {
  const trailers = new Headers({ [headerGrpcStatus]: grpcStatusOk });
  return Object.fromEntries(error === undefined ? trailers : setTrailerStatus(trailers, error));
}

const endStreamSerialization = createEndStreamSerialization({
  registry: createRegistry(file_google_rpc_error_details),
});

/** The frame that ends a Connect stream; without an error: well. */
export function connectEndFrame(error: ConnectError | undefined): Uint8Array {
  const end = { metadata: new Headers(), ...(error === undefined ? {} : { error }) };
  return encodeEnvelope(endStreamFlag, endStreamSerialization.serialize(end));
}
