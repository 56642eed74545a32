import { create } from '@bufbuild/protobuf';
import type {
  CreateOrganizationRequest,
  GetOrganizationRequest,
  ListOrganizationsRequest,
  UpdateOrganizationRequest,
} from '#gen/tideway/control/v1/control_service_pb.ts';
import { type Organization, OrganizationSchema } from '#gen/tideway/control/v1/resources_pb.ts';
import { found, reachOrganization } from '#lib/server/reach.ts';
import { invalidField, Refusal } from '#lib/server/refusal.ts';
import type * as records from '#lib/store/records.ts';
import { type Caller, type Control, mandateOf } from './caller.ts';
import { requireActive, requireText, stateFrom, stateOf, timeOf } from './messages.ts';
import { applyUpdate, type Update, updateResource } from './update.ts';

export async function createOrganization(
  control: Control,
  { create: input }: CreateOrganizationRequest,
  { principal }: Caller,
): Promise<Organization> {
  const { reach } = principal;
  if (reach.kind === 'organization') {
    throw new Refusal('scope_missing', {
      text: 'API tokens make no organizations: users do, and who operates Tideway',
    });
  }
  const asked = found(input);
  requireActive(asked.state);
  const organization = await control.store.organizations.create(principal.actor, {
    name: requireText('create.name', asked.name),
    slug: asked.slug,
    region: await regionOf(control, asked.region),
    quotas: asked.quotas,
    ownerId: reach.kind === 'memberships' ? reach.userId : undefined,
  });
  return organizationOf(organization);
}

export async function getOrganization(
  control: Control,
  request: GetOrganizationRequest,
  caller: Caller,
): Promise<Organization> {
  return organizationOf(await reachOrganization(control, caller.principal, request, 'organization:read'));
}

export async function listOrganizations(
  { gate, store }: Control,
  { pageSize, pageToken }: ListOrganizationsRequest,
  { principal }: Caller,
) {
  const { reach } = principal;
  // Every role of a user may read.
  if (reach.kind === 'organization') await gate.requireScope(principal, reach.organizationId, 'organization:read');
  const { items, nextPageToken } = await store.organizations.list({
    pageSize,
    pageToken,
    ids: reach.kind === 'organization' ? [reach.organizationId] : undefined,
    userId: reach.kind === 'memberships' ? reach.userId : undefined,
  });
  return { organizations: items.map(organizationOf), nextPageToken };
}

export async function updateOrganization(
  control: Control,
  request: UpdateOrganizationRequest,
  caller: Caller,
): Promise<Organization> {
  const { store } = control;
  const update = found(request.update);
  const organization = await updateResource(
    update.etag,
    () => reachOrganization(control, caller.principal, request, 'organization:write'),
    (current) => applyUpdate(OrganizationSchema, organizationOf(current), update, request.updateMask),
    (change, etag) => {
      const { id } = change.result;
      return store.organizations.update(mandateOf(caller, id, ['organization:write']), id, patchOf(change), { etag });
    },
  );
  return organizationOf(organization);
}

function patchOf({ result, fields }: Update<Organization>): records.OrganizationPatch {
  return {
    slug: fields.has('slug') ? requireText('update.slug', result.slug) : undefined,
    name: fields.has('name') ? requireText('update.name', result.name) : undefined,
    state: fields.has('state') ? stateFrom(result.state) : undefined,
    quotas: fields.has('quotas') ? result.quotas : undefined,
  };
}

async function regionOf({ store, defaultRegion }: Control, asked: string): Promise<string> {
  if (asked === '' || asked === defaultRegion) return defaultRegion;
  if ((await store.regions.get(asked)) === undefined) throw invalidField('create.region', 'must be one of the regions');
  return asked;
}

function organizationOf(record: records.Organization): Organization {
  return create(OrganizationSchema, {
    id: record.id,
    slug: record.slug,
    name: record.name,
    state: stateOf(record.state),
    region: record.region,
    quotas: [...record.quotas],
    createTime: timeOf(record.createdMs),
    updateTime: timeOf(record.updatedMs),
    etag: record.etag,
  });
}
