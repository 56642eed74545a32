import { clone } from '@bufbuild/protobuf';
import { type ProjectConfig, ProjectConfigSchema } from '#gen/tideway/config/v1/config_service_pb.ts';

/** What a relay is told that is somebody else's: enough to refuse, filter and scrub, and nothing about limits. */
export function limited(config: ProjectConfig): ProjectConfig {
  const copy = clone(ProjectConfigSchema, config);
  copy.quotas = [];
  return copy;
}
