import { toBinary, toJsonString } from '@bufbuild/protobuf';
import { encodeEnvelope } from '@connectrpc/connect/protocol';
import { type SubscribeResponse, SubscribeResponseSchema } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { concatBytes, type Wire } from './delivery.ts';
import { controlResponse, entryResponse, HEARTBEAT } from './responses.ts';

const encoder = new TextEncoder();

/** Subscribe's responses in binary frames: gRPC's, gRPC-Web's and Connect's are the same. */
export const binaryFrameWire = frameWire(3, (response) => toBinary(SubscribeResponseSchema, response));

/** The same in JSON, as Connect has it. */
export const jsonFrameWire = frameWire(5, (response) =>
  encoder.encode(toJsonString(SubscribeResponseSchema, response)),
);

/** The generated code encodes; a frame is five bytes before that. */
function frameWire(slot: number, encode: (response: SubscribeResponse) => Uint8Array): Wire<Uint8Array> {
  const frame = (response: SubscribeResponse) => encodeEnvelope(0, encode(response));
  return {
    slot,
    opening: undefined,
    heartbeat: frame(HEARTBEAT),
    entry: (delivery) => frame(entryResponse(delivery)),
    control: (notice, cursor) => frame(controlResponse(notice, cursor)),
    goodbye: () => undefined,
    join: concatBytes,
  };
}
