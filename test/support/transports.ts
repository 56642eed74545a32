import { createRegistry } from '@bufbuild/protobuf';
import type { Transport } from '@connectrpc/connect';
import * as node from '@connectrpc/connect-node';
import * as web from '@connectrpc/connect-web';
import { file_google_rpc_error_details } from '#gen/google/rpc/error_details_pb.ts';

/** Details in a message's Status are read as JSON only by who knows their types. */
const jsonOptions = { registry: createRegistry(file_google_rpc_error_details) };

/** A way to call, and what it can't do. */
export interface TransportKind {
  readonly name: string;
  readonly open: (baseUrl: string) => Transport;
  /** PublishStream needs requests and responses at the same time: HTTP/2, and no browser. */
  readonly bidirectional: boolean;
}

/** Every protocol and encoding that clients of ours may speak: connect-node's, and connect-web's as browsers have them. */
export const transports: readonly TransportKind[] = [
  {
    name: 'gRPC',
    open: (baseUrl) => node.createGrpcTransport({ baseUrl }),
    bidirectional: true,
  },
  {
    name: 'gRPC-Web over HTTP/2',
    open: (baseUrl) => node.createGrpcWebTransport({ baseUrl, httpVersion: '2' }),
    bidirectional: true,
  },
  {
    name: 'Connect over HTTP/2, binary',
    open: (baseUrl) => node.createConnectTransport({ baseUrl, httpVersion: '2', useBinaryFormat: true }),
    bidirectional: true,
  },
  {
    name: 'Connect over HTTP/2, JSON',
    open: (baseUrl) => node.createConnectTransport({ baseUrl, httpVersion: '2', useBinaryFormat: false, jsonOptions }),
    bidirectional: true,
  },
  {
    name: 'Connect over HTTP/1.1',
    open: (baseUrl) => node.createConnectTransport({ baseUrl, httpVersion: '1.1' }),
    bidirectional: false,
  },
  {
    name: 'connect-web, JSON',
    open: (baseUrl) => web.createConnectTransport({ baseUrl, jsonOptions }),
    bidirectional: false,
  },
  {
    name: 'connect-web, binary',
    open: (baseUrl) => web.createConnectTransport({ baseUrl, useBinaryFormat: true }),
    bidirectional: false,
  },
  {
    name: 'connect-web, gRPC-Web',
    open: (baseUrl) => web.createGrpcWebTransport({ baseUrl }),
    bidirectional: false,
  },
];
