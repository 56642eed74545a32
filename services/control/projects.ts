import { create } from '@bufbuild/protobuf';
import type {
  CreateProjectRequest,
  GetProjectRequest,
  ListProjectsRequest,
  UpdateProjectRequest,
} from '#gen/tideway/control/v1/control_service_pb.ts';
import {
  FilterSettingsSchema,
  type Project,
  ProjectSchema,
  ScrubbingSettingsSchema,
} from '#gen/tideway/control/v1/resources_pb.ts';
import { found, reachOrganization, reachProject } from '#lib/server/reach.ts';
import { invalidField } from '#lib/server/refusal.ts';
import { MAX_PII_CONFIG_LEVELS, readPiiConfig } from '#lib/store/pii-config.ts';
import type * as records from '#lib/store/records.ts';
import { type Caller, type Control, mandateOf } from './caller.ts';
import { requireActive, requireText, stateFrom, stateOf, timeOf } from './messages.ts';
import { applyUpdate, type Update, updateResource } from './update.ts';

export async function createProject(control: Control, request: CreateProjectRequest, caller: Caller): Promise<Project> {
  const organization = await reachOrganization(control, caller.principal, request, 'projects:write');
  const asked = found(request.create);
  requireActive(asked.state);
  requirePiiConfig('create.scrubbing.pii_config_json', asked.scrubbing?.piiConfigJson);
  const by = mandateOf(caller, organization.id, ['projects:write']);
  const project = await control.store.projects.create(by, organization.id, {
    name: requireText('create.name', asked.name),
    slug: asked.slug,
    platform: asked.platform,
    // What is not said is as a new project has it.
    allowedDomains: asked.allowedDomains.length > 0 ? asked.allowedDomains : undefined,
    filters: asked.filters,
    // Who says more of scrubbing doesn't say that there is to be none: what is off can't be told from what is not said.
    scrubbing:
      asked.scrubbing && create(ScrubbingSettingsSchema, { ...asked.scrubbing, scrubData: true, scrubDefaults: true }),
    quotas: asked.quotas,
    retentionDays: asked.retentionDays > 0 ? asked.retentionDays : undefined,
  });
  return projectOf(project);
}

export async function getProject(control: Control, request: GetProjectRequest, caller: Caller): Promise<Project> {
  return projectOf(await reachProject(control, caller.principal, request, 'projects:read'));
}

export async function listProjects(control: Control, request: ListProjectsRequest, caller: Caller) {
  const organization = await reachOrganization(control, caller.principal, request, 'projects:read');
  const { items, nextPageToken } = await control.store.projects.list(organization.id, request);
  return { projects: items.map(projectOf), nextPageToken };
}

export async function updateProject(control: Control, request: UpdateProjectRequest, caller: Caller): Promise<Project> {
  const { store } = control;
  const update = found(request.update);
  const project = await updateResource(
    update.etag,
    () => reachProject(control, caller.principal, request, 'projects:write'),
    (current) => applyUpdate(ProjectSchema, projectOf(current), update, request.updateMask),
    (change, etag) => {
      const { organizationId, id } = change.result;
      const by = mandateOf(caller, organizationId, ['projects:write']);
      return store.projects.update(by, organizationId, id, patchOf(change), { etag });
    },
  );
  return projectOf(project);
}

function patchOf({ result, fields }: Update<Project>): records.ProjectPatch {
  if (fields.has('retention_days') && result.retentionDays === 0) {
    throw invalidField('update.retention_days', 'must be above 0');
  }
  requirePiiConfig('update.scrubbing.pii_config_json', result.scrubbing?.piiConfigJson);
  return {
    slug: fields.has('slug') ? requireText('update.slug', result.slug) : undefined,
    name: fields.has('name') ? requireText('update.name', result.name) : undefined,
    platform: fields.has('platform') ? result.platform : undefined,
    state: fields.has('state') ? stateFrom(result.state) : undefined,
    allowedDomains: fields.has('allowed_domains') ? result.allowedDomains : undefined,
    filters: fields.has('filters') ? create(FilterSettingsSchema, result.filters) : undefined,
    scrubbing: fields.has('scrubbing') ? create(ScrubbingSettingsSchema, result.scrubbing) : undefined,
    quotas: fields.has('quotas') ? result.quotas : undefined,
    retentionDays: fields.has('retention_days') ? result.retentionDays : undefined,
  };
}

const PII_CONFIG_RULES = {
  not_json: 'must be JSON',
  no_object: 'must be a JSON object',
  too_deep: `must be nested at most ${MAX_PII_CONFIG_LEVELS} deep`,
} as const;

/** @throws Refusal */
function requirePiiConfig(field: string, text = ''): void {
  if (text === '') return;
  const { kind } = readPiiConfig(text);
  if (kind !== 'config') throw invalidField(field, PII_CONFIG_RULES[kind]);
}

function projectOf(record: records.Project): Project {
  return create(ProjectSchema, {
    id: record.id,
    organizationId: record.organizationId,
    slug: record.slug,
    name: record.name,
    platform: record.platform,
    state: stateOf(record.state),
    revision: record.revision,
    allowedDomains: [...record.allowedDomains],
    filters: record.filters,
    scrubbing: record.scrubbing,
    quotas: [...record.quotas],
    retentionDays: record.retentionDays,
    createTime: timeOf(record.createdMs),
    updateTime: timeOf(record.updatedMs),
    etag: record.etag,
  });
}
