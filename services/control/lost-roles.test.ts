import { Code } from '@connectrpc/connect';
import { expect, test } from 'vitest';
import { ControlService } from '#gen/tideway/control/v1/control_service_pb.ts';
import { Role } from '#gen/tideway/control/v1/resources_pb.ts';
import { openControl } from './control-testing.ts';

const control = openControl();

async function setUp() {
  const { newOrganization, newUser, store, loser } = control();
  const organization = await newOrganization();
  const [owner, other] = [await newUser(), await newUser()];
  await store.members.add('system', organization.id, owner.id, 'owner');
  await store.members.add('system', organization.id, other.id, 'owner');
  const project = await store.projects.create('system', organization.id, { name: 'App' });
  const [key] = (await store.keys.list(project.id, {})).items;
  const invited = { email: 'waits@example.com', role: 'member', expiresMs: Date.now() + 60_000 } as const;
  const { invitation } = await store.invitations.create('system', organization.id, invited);
  const { token } = await store.apiTokens.create('system', organization.id, { name: 'CI', scopes: [] });
  const path = { organization: organization.slug };
  const ofProject = { ...path, project: project.slug };
  const ofKey = { ...ofProject, key: key?.publicKey ?? '' };
  return { organization, owner, other, loser, path, ofProject, ofKey, invitation, token };
}

type Setting = Awaited<ReturnType<typeof setUp>>;
type Client = ReturnType<Setting['loser']>;

/** Every call that changes something in an organization. */
const CHANGES: Readonly<Record<string, (client: Client, setting: Setting) => Promise<unknown>>> = {
  updateOrganization: (client, { path }) => client.updateOrganization({ ...path, update: { name: 'New' } }),
  createProject: (client, { path }) => client.createProject({ ...path, create: { name: 'New' } }),
  updateProject: (client, { ofProject }) => client.updateProject({ ...ofProject, update: { name: 'New' } }),
  createProjectKey: (client, { ofProject }) => client.createProjectKey({ ...ofProject, create: { name: 'New' } }),
  updateProjectKey: (client, { ofKey }) => client.updateProjectKey({ ...ofKey, update: { name: 'New' } }),
  rotateProjectKey: (client, { ofKey }) => client.rotateProjectKey(ofKey),
  updateMember: (client, { path, other }) =>
    client.updateMember({ ...path, member: other.id, update: { role: Role.ADMIN } }),
  deleteMember: (client, { path, other }) => client.deleteMember({ ...path, member: other.id }),
  createInvitation: (client, { path }) =>
    client.createInvitation({ ...path, create: { email: 'new@example.com', role: Role.OWNER } }),
  deleteInvitation: (client, { path, invitation }) => client.deleteInvitation({ ...path, invitation: invitation.id }),
  createApiToken: (client, { path }) =>
    client.createApiToken({ ...path, create: { name: 'New', scopes: ['organization:write'] } }),
  revokeApiToken: (client, { path, token }) => client.revokeApiToken({ ...path, token: token.id }),
};

test.each(Object.entries(CHANGES))('%s is nothing to who loses the role while it waits', async (_, change) => {
  const { store } = control();
  const setting = await setUp();
  const { organization, owner, loser } = setting;
  const demoted = loser(owner, () => store.members.setRole('system', organization.id, owner.id, 'member'));
  await expect(change(demoted, setting)).rejects.toMatchObject({ code: Code.PermissionDenied });
  await store.members.setRole('system', organization.id, owner.id, 'owner');
  const removed = loser(owner, () => store.members.remove('system', organization.id, owner.id));
  await expect(change(removed, setting)).rejects.toMatchObject({ code: Code.NotFound });
  const { items } = await store.audit.list(organization.id, {});
  expect(items.filter(({ actor }) => actor !== 'system')).toEqual([]);
});

test('no call that changes something is left out', () => {
  const changes = Object.keys(ControlService.method).filter((name) => !/^(get|list)/.test(name));
  expect(changes.sort()).toEqual(['createOrganization', ...Object.keys(CHANGES)].sort());
});
