import { createRegistry } from '@bufbuild/protobuf';
import type { ConnectError } from '@connectrpc/connect';
import { encodeEnvelope } from '@connectrpc/connect/protocol';
import {
  contentTypeStreamJson,
  contentTypeStreamProto,
  createEndStreamSerialization,
  endStreamFlag,
  headerTimeout as headerConnectTimeout,
  headerStreamEncoding,
  parseTimeout as parseConnectTimeout,
} from '@connectrpc/connect/protocol-connect';
import {
  contentTypeProto as contentTypeGrpcProto,
  grpcStatusOk,
  headerEncoding,
  headerGrpcStatus,
  headerTimeout,
  parseTimeout,
  setTrailerStatus,
} from '@connectrpc/connect/protocol-grpc';
import {
  contentTypeProto as contentTypeGrpcWebProto,
  trailerFlag,
  trailerSerialize,
} from '@connectrpc/connect/protocol-grpc-web';
import { file_google_rpc_error_details } from '#gen/google/rpc/error_details_pb.ts';
import { Refusal, toConnectError } from '#lib/server/refusal.ts';
import type { Ending, Face } from './byte-sink.ts';
import { chunkWire } from './chunk-wire.ts';
import type { Wire } from './delivery.ts';
import { binaryFrameWire, jsonFrameWire } from './frame-wire.ts';

/**
 * A protocol of Subscribe or SubscribeMany. What stands around the frames is made by connect-es's own parts, so that it is what
 * connect-node would have sent; the test beside this compares them. They are no public API: its version is exact.
 */
export interface RpcFace<W = Wire<Uint8Array>> extends Face<W> {
  /** How requests are encoded: `json`, or binary. */
  readonly json: boolean;
  /** gRPC's trailers need HTTP/2. */
  readonly http2Only: boolean;
  readonly encodingHeader: string;
  readonly timeoutHeader: string;
  /** @returns `error` for a header that makes no sense. */
  parseTimeout(value: string | null): {
    readonly timeoutMs?: number | undefined;
    readonly error?: ConnectError | undefined;
  };
  /** What ends the response; without an error: well. */
  ending(error: ConnectError | undefined): Ending;
}

const TOO_LONG_MS = Number.POSITIVE_INFINITY;

const grpc = {
  encodingHeader: headerEncoding.toLowerCase(),
  timeoutHeader: headerTimeout.toLowerCase(),
  parseTimeout: (value: string | null) => parseTimeout(value, TOO_LONG_MS),
};

const connect = {
  encodingHeader: headerStreamEncoding.toLowerCase(),
  timeoutHeader: headerConnectTimeout.toLowerCase(),
  parseTimeout: (value: string | null) => parseConnectTimeout(value, TOO_LONG_MS),
};

const endStreamSerialization = createEndStreamSerialization({
  registry: createRegistry(file_google_rpc_error_details),
});

/** A wire as it is, and in chunks of HTTP/1.1's transfer coding. */
export interface WirePair<W> {
  readonly wire: W;
  readonly chunkWire: W;
}

/** By the content type of the request. Others are connect-node's. */
export const rpcFaces: ReadonlyMap<string, RpcFace> = makeRpcFaces({
  binary: { wire: binaryFrameWire, chunkWire: chunkWire(4, binaryFrameWire) },
  json: { wire: jsonFrameWire, chunkWire: chunkWire(6, jsonFrameWire) },
});

/** All protocols, for a call whose responses are spelled in these wires. */
export function makeRpcFaces<W>(wires: {
  readonly binary: WirePair<W>;
  readonly json: WirePair<W>;
}): ReadonlyMap<string, RpcFace<W>> {
  const { binary, json } = wires;
  const grpcFace = rpcFace({
    ...grpc,
    ...binary,
    contentType: contentTypeGrpcProto,
    json: false,
    http2Only: true,
    ending: (error) => ({ trailers: Object.fromEntries(statusOf(error)) }),
  });
  const grpcWebFace = rpcFace({
    ...grpc,
    ...binary,
    contentType: contentTypeGrpcWebProto,
    json: false,
    http2Only: false,
    ending: (error) => ({ bytes: encodeEnvelope(trailerFlag, trailerSerialize(statusOf(error))) }),
  });
  const connectBinaryFace = rpcFace({
    ...connect,
    ...binary,
    contentType: contentTypeStreamProto,
    json: false,
    http2Only: false,
    ending: endStream,
  });
  const connectJsonFace = rpcFace({
    ...connect,
    ...json,
    contentType: contentTypeStreamJson,
    json: true,
    http2Only: false,
    ending: endStream,
  });
  return new Map([
    ['application/grpc', grpcFace],
    ['application/grpc+proto', grpcFace],
    ['application/grpc-web', grpcWebFace],
    ['application/grpc-web+proto', grpcWebFace],
    ['application/connect+proto', connectBinaryFace],
    ['application/connect+json', connectJsonFace],
  ]);
}

function rpcFace<W>(options: Omit<RpcFace<W>, 'headers' | 'endings'> & { readonly contentType: string }): RpcFace<W> {
  const { contentType, ending } = options;
  return {
    ...options,
    headers: { 'content-type': contentType },
    endings: {
      ended: ending(undefined),
      unavailable: ending(toConnectError(new Refusal('broker_away', { text: 'Broker away' }))),
      too_slow: ending(toConnectError(new Refusal('slow_listener'))),
    },
  };
}

function statusOf(error: ConnectError | undefined): Headers {
  const trailers = new Headers({ [headerGrpcStatus]: grpcStatusOk });
  return error === undefined ? trailers : setTrailerStatus(trailers, error);
}

function endStream(error: ConnectError | undefined): Ending {
  const end = { metadata: new Headers(), ...(error === undefined ? {} : { error }) };
  return { bytes: encodeEnvelope(endStreamFlag, endStreamSerialization.serialize(end)) };
}
