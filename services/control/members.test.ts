import { Code } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { Role } from '#gen/tideway/control/v1/resources_pb.ts';
import { openControl } from './control-testing.ts';

const control = openControl();

async function setUp() {
  const { newOrganization, newUser, store, user, holder } = control();
  const organization = await newOrganization();
  const [owner, member] = [await newUser(), await newUser()];
  await store.members.add('system', organization.id, owner.id, 'owner');
  await store.members.add('system', organization.id, member.id, 'member');
  const path = { organization: organization.slug };
  return { path, owner, member, asOwner: user(owner), asMember: user(member), holder: holder.bind(null, organization) };
}

test('members are listed with their addresses and roles', async () => {
  const { path, asMember, owner, member } = await setUp();
  const { members } = await asMember.listMembers(path);
  expect(members).toMatchObject([
    { user: owner.id, email: owner.email, role: Role.OWNER },
    { user: member.id, email: member.email, role: Role.MEMBER },
  ]);
  expect(await asMember.getMember({ ...path, member: owner.id })).toMatchObject({ role: Role.OWNER });
});

describe('roles', () => {
  test('are given by owners', async () => {
    const { path, asOwner, asMember, member } = await setUp();
    const update = { ...path, member: member.id, update: { role: Role.ADMIN } };
    await expect(asMember.updateMember(update)).rejects.toMatchObject({ code: Code.PermissionDenied });
    expect(await asOwner.updateMember(update)).toMatchObject({ role: Role.ADMIN });
  });

  test('with more scopes than the giver has are not given', async () => {
    const { path, member, holder } = await setUp();
    const narrow = holder('members:write', 'organization:read', 'projects:read', 'events:read');
    const promote = (role: Role) => narrow.updateMember({ ...path, member: member.id, update: { role } });
    const invite = (role: Role) => narrow.createInvitation({ ...path, create: { email: 'x@example.com', role } });
    expect(await promote(Role.MEMBER)).toMatchObject({ role: Role.MEMBER });
    expect(await invite(Role.MEMBER)).toMatchObject({ role: Role.MEMBER });
    for (const attempt of [() => promote(Role.OWNER), () => invite(Role.OWNER), () => promote(Role.ADMIN)]) {
      await expect(attempt()).rejects.toMatchObject({ code: Code.PermissionDenied });
    }
  });

  test('are not taken from the last owner', async () => {
    const { path, asOwner, owner } = await setUp();
    const lastOwner = { code: Code.FailedPrecondition };
    const demote = { ...path, member: owner.id, update: { role: Role.MEMBER } };
    await expect(asOwner.updateMember(demote)).rejects.toMatchObject(lastOwner);
    await expect(asOwner.deleteMember({ ...path, member: owner.id })).rejects.toMatchObject(lastOwner);
  });

  test('that are none are refused', async () => {
    const { path, asOwner, member } = await setUp();
    const clear = { ...path, member: member.id, update: {}, updateMask: { paths: ['role'] } };
    await expect(asOwner.updateMember(clear)).rejects.toMatchObject({ rawMessage: 'update.role: must be a role' });
  });
});

test('who is no member any more has no part in it', async () => {
  const { path, asOwner, asMember, member } = await setUp();
  expect(await asOwner.deleteMember({ ...path, member: member.id })).toMatchObject({ user: member.id });
  await expect(asMember.getOrganization(path)).rejects.toMatchObject({ code: Code.NotFound });
});

test('no address that is longer than an account can have is invited', async () => {
  const { path, asOwner } = await setUp();
  const invite = (length: number) => {
    const email = `${'a'.repeat(length - '@example.com'.length)}@example.com`;
    return asOwner.createInvitation({ ...path, create: { email, role: Role.MEMBER } });
  };
  await expect(invite(255)).rejects.toMatchObject({ code: Code.InvalidArgument });
  expect((await invite(254)).email).toHaveLength(254);
});
