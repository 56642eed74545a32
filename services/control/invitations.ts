import { create } from '@bufbuild/protobuf';
import type {
  CreateInvitationRequest,
  DeleteInvitationRequest,
  ListInvitationsRequest,
} from '#gen/tideway/control/v1/control_service_pb.ts';
import { type Invitation, InvitationSchema } from '#gen/tideway/control/v1/resources_pb.ts';
import { ROLE_SCOPES } from '#lib/auth/roles.ts';
import { found, reachOrganization } from '#lib/server/reach.ts';
import type * as records from '#lib/store/records.ts';
import { type Caller, type Control, mandateOf, requireScopes } from './caller.ts';
import { roleFrom, roleOf, timeOf } from './messages.ts';

/** For an invitation that waits for its reader to come back from a holiday. */
export const INVITATION_TTL_MS = 14 * 86_400_000;

export async function createInvitation(
  control: Control,
  request: CreateInvitationRequest,
  caller: Caller,
): Promise<Invitation> {
  const organization = await reachOrganization(control, caller.principal, request, 'members:write');
  const asked = found(request.create);
  const role = roleFrom(asked.role, 'create.role');
  await requireScopes(control, caller, organization, ROLE_SCOPES[role]);
  const by = mandateOf(caller, organization.id, ['members:write', ...ROLE_SCOPES[role]]);
  const { invitation, secret } = await control.store.invitations.create(by, organization.id, {
    email: asked.email,
    role,
    expiresMs: control.now() + INVITATION_TTL_MS,
  });
  return { ...invitationOf(invitation), token: secret };
}

export async function listInvitations(control: Control, request: ListInvitationsRequest, caller: Caller) {
  const organization = await reachOrganization(control, caller.principal, request, 'members:read');
  const { items, nextPageToken } = await control.store.invitations.list(organization.id, request);
  return { invitations: items.map(invitationOf), nextPageToken };
}

export async function deleteInvitation(
  control: Control,
  request: DeleteInvitationRequest,
  caller: Caller,
): Promise<Invitation> {
  const organization = await reachOrganization(control, caller.principal, request, 'members:write');
  const by = mandateOf(caller, organization.id, ['members:write']);
  return invitationOf(await control.store.invitations.revoke(by, organization.id, request.invitation));
}

function invitationOf(record: records.Invitation): Invitation {
  return create(InvitationSchema, {
    id: record.id,
    email: record.email,
    role: roleOf(record.role),
    expireTime: timeOf(record.expiresMs),
  });
}
