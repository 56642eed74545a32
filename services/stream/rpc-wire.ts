import type { SubscribeResponse } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import type { Wire } from './delivery.ts';
import { controlResponse, entryResponse, HEARTBEAT } from './responses.ts';

/** Responses, with about what they weigh while they wait. */
export interface RpcChunk<R = SubscribeResponse> {
  readonly responses: readonly R[];
  readonly sizeBytes: number;
}

/** An event's id, its tags and its object. */
const EVENT_OVERHEAD_BYTES = 128;

/** StreamService.Subscribe's events for connect-node to encode: for the calls that no byte-written face takes. */
export const rpcWire: Wire<RpcChunk> = {
  slot: 1,
  opening: undefined,
  heartbeat: chunk(HEARTBEAT, 0),
  entry: (delivery) => chunk(entryResponse(delivery), delivery.sizeBytes),
  control: (notice, cursor) => chunk(controlResponse(notice, cursor), 0),
  goodbye: () => undefined,
  join: joinChunks,
};

export function joinChunks<R>(chunks: readonly RpcChunk<R>[]): RpcChunk<R> {
  return {
    responses: chunks.flatMap(({ responses }) => responses),
    sizeBytes: chunks.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
  };
}

export function chunk<R>(response: R, dataBytes: number): RpcChunk<R> {
  return { responses: [response], sizeBytes: dataBytes + EVENT_OVERHEAD_BYTES };
}
