import { create } from '@bufbuild/protobuf';
import type {
  DeleteMemberRequest,
  GetMemberRequest,
  ListMembersRequest,
  UpdateMemberRequest,
} from '#gen/tideway/control/v1/control_service_pb.ts';
import { type Member, MemberSchema } from '#gen/tideway/control/v1/resources_pb.ts';
import { ROLE_SCOPES } from '#lib/auth/roles.ts';
import { found, reachOrganization } from '#lib/server/reach.ts';
import type * as records from '#lib/store/records.ts';
import { type Caller, type Control, mandateOf, requireScopes } from './caller.ts';
import { roleFrom, roleOf, timeOf } from './messages.ts';
import { applyUpdate } from './update.ts';

export async function getMember(control: Control, request: GetMemberRequest, caller: Caller): Promise<Member> {
  const organization = await reachOrganization(control, caller.principal, request, 'members:read');
  return memberOf(found(await control.store.members.get(organization.id, request.member)));
}

export async function listMembers(control: Control, request: ListMembersRequest, caller: Caller) {
  const organization = await reachOrganization(control, caller.principal, request, 'members:read');
  const { items, nextPageToken } = await control.store.members.list(organization.id, request);
  return { members: items.map(memberOf), nextPageToken };
}

export async function updateMember(control: Control, request: UpdateMemberRequest, caller: Caller): Promise<Member> {
  const { store } = control;
  const organization = await reachOrganization(control, caller.principal, request, 'members:write');
  const current = found(await store.members.get(organization.id, request.member));
  const update = applyUpdate(MemberSchema, memberOf(current), found(request.update), request.updateMask);
  if (!update.fields.has('role')) return memberOf(current);
  const role = roleFrom(update.result.role, 'update.role');
  await requireScopes(control, caller, organization, ROLE_SCOPES[role]);
  const by = mandateOf(caller, organization.id, ['members:write', ...ROLE_SCOPES[role]]);
  return memberOf(await store.members.setRole(by, organization.id, request.member, role));
}

export async function deleteMember(control: Control, request: DeleteMemberRequest, caller: Caller): Promise<Member> {
  const organization = await reachOrganization(control, caller.principal, request, 'members:write');
  const by = mandateOf(caller, organization.id, ['members:write']);
  return memberOf(await control.store.members.remove(by, organization.id, request.member));
}

function memberOf(record: records.Member): Member {
  return create(MemberSchema, {
    user: record.userId,
    email: record.email,
    role: roleOf(record.role),
    createTime: timeOf(record.createdMs),
  });
}
