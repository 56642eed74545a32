import { toBinary } from '@bufbuild/protobuf';
import { type PublishBatchResult, PublishBatchResultSchema } from '#gen/tideway/stream/v1/publish_service_pb.ts';
import { type MessageHead, scanMessage } from '#lib/broker/scan-message.ts';
import { WireReader } from '#lib/broker/wire-reader.ts';
import { publishResponseLength, writePublishResponse } from './publish-response-wire.ts';

/** A message of a batch, in place. */
export interface BatchedMessage {
  readonly head: MessageHead;
  readonly data: Buffer;
}

const FIELD_1 = 0x0a;

/**
 * The messages of an encoded PublishBatchRequest. Undefined says nothing about it but that it is not of the usual form, as
 * of {@link scanMessage}: whoever is answered so decodes it.
 */
export function scanBatch(data: Buffer): BatchedMessage[] | undefined {
  const messages: BatchedMessage[] = [];
  const reader = new WireReader();
  while (reader.at < data.length) {
    if (data[reader.at++] !== FIELD_1) return undefined;
    const end = reader.delimitedEnd(data, data.length);
    if (end < 0) return undefined;
    const head = scanMessage(data, reader.at, end);
    if (head === undefined || head.orgId === 0n) return undefined;
    messages.push({ head, data: data.subarray(reader.at, end) });
    reader.at = end;
  }
  return messages;
}

/** More are no length of ours. */
const MAX_LENGTH_BYTES = 4;
/** Of a result: the heads of three messages, an id of 41, and a duplicate's mark. */
const MAX_ACKNOWLEDGEMENT_BYTES = 52;

/** A PublishBatchResponse. Acknowledgements are written as the generated code would, which a test compares. */
export function encodeBatchResults(results: readonly PublishBatchResult[]): Buffer {
  const refusals = new Map<number, Uint8Array>();
  let size = 0;
  for (const [n, made] of results.entries()) {
    if (made.result.case === 'published') {
      size += MAX_ACKNOWLEDGEMENT_BYTES;
      continue;
    }
    const encoded = toBinary(PublishBatchResultSchema, made);
    refusals.set(n, encoded);
    size += 1 + MAX_LENGTH_BYTES + encoded.byteLength;
  }
  const out = Buffer.allocUnsafe(size);
  let at = 0;
  for (const [n, { result }] of results.entries()) {
    out[at++] = FIELD_1;
    const refusal = refusals.get(n);
    if (refusal !== undefined) {
      let rest = refusal.byteLength;
      for (; rest > 0x7f; rest >>= 7) out[at++] = (rest & 0x7f) | 0x80;
      out[at++] = rest;
      out.set(refusal, at);
      at += refusal.byteLength;
    } else if (result.case === 'published') {
      const published = result.value;
      const length = publishResponseLength(published);
      out[at++] = 2 + length;
      out[at++] = FIELD_1;
      out[at++] = length;
      at = writePublishResponse(out, at, published);
    }
  }
  return out.subarray(0, at);
}
