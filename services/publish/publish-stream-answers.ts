import { create, toBinary } from '@bufbuild/protobuf';
import { encodeEnvelope } from '@connectrpc/connect/protocol';
import { PublishStreamResponseSchema } from '#gen/tideway/stream/v1/publish_service_pb.ts';
import { FRAME_HEAD_BYTES } from '#lib/server/rpc-frames.ts';
import type { Cancelled } from './cancel-watches.ts';
import type { PipelineAnswer } from './pipeline.ts';
import { publishResponseLength, writePublishResponse } from './publish-response-wire.ts';
import { resultOf } from './publish-stream.ts';

/** Of an acknowledgement: its frame's head, a position of 8 bytes, an id of 41, and what is around them. */
const MAX_ACKNOWLEDGEMENT_BYTES = 80;

const POSITION = 0x08;
const PUBLISHED = 0x12;

/** The same of what was cancelled. */
export function encodeCancelled(cancelled: readonly Cancelled[]): Buffer {
  return Buffer.concat(
    cancelled.map(({ channelId, reason }) => {
      const result = { case: 'cancelled', value: { channelId, reason } } as const;
      const response = create(PublishStreamResponseSchema, { result });
      return encodeEnvelope(0, toBinary(PublishStreamResponseSchema, response));
    }),
  );
}

/**
 * PublishStreamResponses in frames, as one piece: the first answers the message at `position`. Acknowledgements, nearly all
 * of them, are written as the generated code would, which a test compares; refusals it encodes.
 */
export function encodeAnswers(position: number, answers: readonly PipelineAnswer[]): Buffer {
  const refusals = new Map<number, Uint8Array>();
  let size = 0;
  for (const [n, answer] of answers.entries()) {
    if ('id' in answer) {
      size += MAX_ACKNOWLEDGEMENT_BYTES;
      continue;
    }
    const response = create(PublishStreamResponseSchema, { position: BigInt(position + n), result: resultOf(answer) });
    const encoded = toBinary(PublishStreamResponseSchema, response);
    refusals.set(n, encoded);
    size += FRAME_HEAD_BYTES + encoded.byteLength;
  }
  const out = Buffer.allocUnsafe(size);
  let at = 0;
  for (const [n, answer] of answers.entries()) {
    const start = at;
    at += FRAME_HEAD_BYTES;
    const refusal = refusals.get(n);
    if (refusal !== undefined) {
      out.set(refusal, at);
      at += refusal.byteLength;
    } else if ('id' in answer) {
      // A zero is not written.
      if (position + n > 0) {
        out[at++] = POSITION;
        let rest = position + n;
        for (; rest > 0x7f; rest = Math.floor(rest / 128)) out[at++] = (rest % 128) | 0x80;
        out[at++] = rest;
      }
      out[at++] = PUBLISHED;
      out[at++] = publishResponseLength(answer);
      at = writePublishResponse(out, at, answer);
    }
    out[start] = 0;
    out.writeUInt32BE(at - start - FRAME_HEAD_BYTES, start + 1);
  }
  return out.subarray(0, at);
}
