import { create, type DescFile, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { file_google_rpc_error_details } from '#gen/google/rpc/error_details_pb.ts';
import { file_tideway_control_v1_account_service } from '#gen/tideway/control/v1/account_service_pb.ts';
import { file_tideway_control_v1_control_service } from '#gen/tideway/control/v1/control_service_pb.ts';
import { file_tideway_events_v1_event_service } from '#gen/tideway/events/v1/event_service_pb.ts';
import { file_tideway_stream_v1_publish_service } from '#gen/tideway/stream/v1/publish_service_pb.ts';
import { file_tideway_stream_v1_stream_service } from '#gen/tideway/stream/v1/stream_service_pb.ts';

// Error details are named by nobody's import, and the transcoder writes them into JSON errors.
const roots = [
  file_tideway_control_v1_account_service,
  file_tideway_control_v1_control_service,
  file_tideway_events_v1_event_service,
  file_tideway_stream_v1_publish_service,
  file_tideway_stream_v1_stream_service,
  file_google_rpc_error_details,
];

/**
 * The contracts as Envoy's transcoder reads them: what buf put into gen/, so the edge and the services can't disagree,
 * and nothing has to be built before the edge starts. Every file comes after those that it imports.
 */
export function descriptorSet(): Uint8Array {
  const files = new Set<DescFile>();
  const add = (file: DescFile): void => {
    for (const dependency of file.dependencies) add(dependency);
    files.add(file);
  };
  for (const root of roots) add(root);
  return toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: [...files].map((f) => f.proto) }));
}
