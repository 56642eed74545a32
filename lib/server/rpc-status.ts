import { create } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import { type Status, StatusSchema } from '#gen/google/rpc/status_pb.ts';
import { type Refusal, toConnectError } from './refusal.ts';

/** A refusal as google.rpc.Status, for answers that carry one in a message: with the details an RPC error would have. */
export function toStatus(refusal: Refusal): Status {
  const error = toConnectError(refusal);
  const details = error.details.flatMap((detail) =>
    'desc' in detail ? [anyPack(detail.desc, create(detail.desc, detail.value))] : [],
  );
  return create(StatusSchema, { code: error.code, message: refusal.message, details });
}
