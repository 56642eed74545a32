import { type CallOptions, type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { PublishService } from '#gen/tideway/stream/v1/publish_service_pb.ts';
import { type StreamAccess, StreamService } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import type { Target } from './target.ts';

/** One HTTP/2 connection to the edge, opened when it is needed and again after it broke. */
export interface Edge {
  readonly publisher: Client<typeof PublishService>;
  readonly streams: Client<typeof StreamService>;
  /** Ends the connection and every call on it. */
  close(): void;
}

export function connectEdge(url: string): Edge {
  // The pings find a connection that died without a word, such as behind a NAT or after a suspend.
  const sessionManager = new Http2SessionManager(url, { pingIntervalMs: 10_000, pingTimeoutMs: 5_000 });
  const transport = createGrpcTransport({ baseUrl: url, sessionManager, readMaxBytes: MAX_RESPONSE_BYTES });
  return {
    publisher: createClient(PublishService, transport),
    streams: createClient(StreamService, transport),
    close: () => sessionManager.abort(),
  };
}

/** What carries a token; nothing where there is none. */
export function bearer(token: string | undefined): CallOptions {
  return token ? { headers: { authorization: `Bearer ${token}` } } : {};
}

/** Makes a channel, or a token for the one given. */
export async function startStream(
  edge: Edge,
  target: Target,
  channelId: string | undefined,
  signal?: AbortSignal,
): Promise<StreamAccess> {
  const request = { organization: String(target.orgId), ...(channelId === undefined ? {} : { channelId }) };
  const { conduit } = await edge.streams.startStream(request, {
    ...bearer(target.apiToken),
    timeoutMs: CALL_TIMEOUT_MS,
    ...(signal ? { signal } : {}),
  });
  if (!conduit) throw new Error('the edge answered StartStream with nothing');
  return conduit;
}

/** How long a unary call may take, connecting included. */
export const CALL_TIMEOUT_MS = 10_000;

// A message is at most 16 KiB; a response carries one.
const MAX_RESPONSE_BYTES = 64 * 1024;
