import { create } from '@bufbuild/protobuf';
import type { ProjectConfig } from '#gen/tideway/config/v1/config_service_pb.ts';
import { FilterSettingsSchema } from '#gen/tideway/control/v1/resources_pb.ts';
import type { ProcessProject } from './processing.ts';

const known = new WeakMap<ProjectConfig, ProcessProject>();

/** What processing needs of a config. The same for the same: what crosses threads once need not cross again. */
export function processProjectOf(config: ProjectConfig): ProcessProject {
  const found = known.get(config);
  if (found !== undefined) return found;
  const { organizationId, projectId, keyId, retentionDays, scrubbing } = config;
  const { $typeName: _name, $unknown: _unknown, ...filters } = config.filters ?? create(FilterSettingsSchema);
  const scrubIpAddresses = scrubbing?.scrubIpAddresses ?? false;
  const project = { organizationId, projectId, keyId, retentionDays, filters, scrubIpAddresses };
  known.set(config, project);
  return project;
}
