import { create } from '@bufbuild/protobuf';
import type {
  CreateProjectKeyRequest,
  GetProjectKeyRequest,
  ListProjectKeysRequest,
  RotateProjectKeyRequest,
  UpdateProjectKeyRequest,
} from '#gen/tideway/control/v1/control_service_pb.ts';
import { type ProjectKey, ProjectKeySchema } from '#gen/tideway/control/v1/resources_pb.ts';
import { found, reachProject } from '#lib/server/reach.ts';
import type * as records from '#lib/store/records.ts';
import { type Caller, type Control, mandateOf } from './caller.ts';
import { dsnOf } from './dsn.ts';
import { requireActive, requireText, stateFrom, stateOf, timeOf } from './messages.ts';
import { applyUpdate, type Update, updateResource } from './update.ts';

export async function createProjectKey(
  control: Control,
  request: CreateProjectKeyRequest,
  caller: Caller,
): Promise<ProjectKey> {
  const project = await reachProject(control, caller.principal, request, 'projects:write');
  const { name, state, rateLimit } = found(request.create);
  requireActive(state);
  const by = mandateOf(caller, project.organizationId, ['projects:write']);
  const key = await control.store.keys.create(by, project.id, {
    name: requireText('create.name', name),
    rateLimit,
  });
  return projectKeyOf(key, caller);
}

export async function getProjectKey(
  control: Control,
  request: GetProjectKeyRequest,
  caller: Caller,
): Promise<ProjectKey> {
  const project = await reachProject(control, caller.principal, request, 'projects:read');
  return projectKeyOf(found(await control.store.keys.get(project.id, request.key)), caller);
}

export async function listProjectKeys(control: Control, request: ListProjectKeysRequest, caller: Caller) {
  const project = await reachProject(control, caller.principal, request, 'projects:read');
  const { items, nextPageToken } = await control.store.keys.list(project.id, request);
  return { keys: items.map((key) => projectKeyOf(key, caller)), nextPageToken };
}

export async function updateProjectKey(
  control: Control,
  request: UpdateProjectKeyRequest,
  caller: Caller,
): Promise<ProjectKey> {
  const { store } = control;
  const update = found(request.update);
  const project = await reachProject(control, caller.principal, request, 'projects:write');
  const by = mandateOf(caller, project.organizationId, ['projects:write']);
  const key = await updateResource(
    update.etag,
    async () => found(await store.keys.get(project.id, request.key)),
    (current) => applyUpdate(ProjectKeySchema, projectKeyOf(current, caller), update, request.updateMask),
    (change, etag) => store.keys.update(by, project.id, request.key, patchOf(change), { etag }),
  );
  return projectKeyOf(key, caller);
}

export async function rotateProjectKey(
  control: Control,
  request: RotateProjectKeyRequest,
  caller: Caller,
): Promise<ProjectKey> {
  const project = await reachProject(control, caller.principal, request, 'projects:write');
  const by = mandateOf(caller, project.organizationId, ['projects:write']);
  const key = await control.store.keys.rotate(by, project.id, request.key, { etag: request.etag });
  return projectKeyOf(key, caller);
}

function patchOf({ result, fields }: Update<ProjectKey>): records.ProjectKeyPatch {
  return {
    name: fields.has('name') ? requireText('update.name', result.name) : undefined,
    state: fields.has('state') ? stateFrom(result.state) : undefined,
    rateLimit: fields.has('rate_limit') ? (result.rateLimit ?? null) : undefined,
  };
}

function projectKeyOf(record: records.ProjectKey, { edgeUrl }: Caller): ProjectKey {
  return create(ProjectKeySchema, {
    id: record.id,
    projectId: record.projectId,
    publicKey: record.publicKey,
    name: record.name,
    state: stateOf(record.state),
    rateLimit: record.rateLimit,
    dsn: dsnOf(edgeUrl, record.publicKey, record.projectId),
    createTime: timeOf(record.createdMs),
    updateTime: timeOf(record.updatedMs),
    etag: record.etag,
  });
}
