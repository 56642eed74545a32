import { Code } from '@connectrpc/connect';
import { expect, test } from 'vitest';
import { Role, State } from '#gen/tideway/control/v1/resources_pb.ts';
import { openControl } from './control-testing.ts';

const control = openControl();

test('a user who makes an organization owns it, and sees no other', async () => {
  const { user, newUser, newOrganization, store } = control();
  const ada = await newUser();
  await newOrganization();
  const { id } = await user(ada).createOrganization({ create: { name: 'Ada’s' } });
  expect(await store.members.get(id, ada.id)).toMatchObject({ role: 'owner' });
  const { organizations } = await user(ada).listOrganizations({});
  expect(organizations.map((organization) => organization.id)).toEqual([id]);
});

test('it is made where it is asked for, if there is such a region', async () => {
  const { operator, store } = control();
  expect(await operator.createOrganization({ create: { name: 'Here' } })).toMatchObject({ region: 'eu' });
  await store.regions.put('system', { name: 'us', url: 'https://us.example' });
  expect(await operator.createOrganization({ create: { name: 'There', region: 'us' } })).toMatchObject({
    region: 'us',
  });
  await expect(operator.createOrganization({ create: { name: 'Nowhere', region: 'moon' } })).rejects.toMatchObject({
    code: Code.InvalidArgument,
    rawMessage: 'create.region: must be one of the regions',
  });
});

test('what is new is in use', async () => {
  const create = { name: 'x', state: State.DISABLED };
  await expect(control().operator.createOrganization({ create })).rejects.toMatchObject({
    rawMessage: 'create.state: must not be STATE_DISABLED yet',
  });
});

test('a disabled organization is there for who operates the installation', async () => {
  const { operator, newOrganization } = control();
  const { slug: organization } = await newOrganization();
  await operator.updateOrganization({ organization, update: { state: State.DISABLED } });
  expect(await operator.getOrganization({ organization })).toMatchObject({ state: State.DISABLED });
  expect(await operator.updateOrganization({ organization, update: { state: State.ACTIVE } })).toMatchObject({
    state: State.ACTIVE,
  });
});

test('a slug that was given up leads who had it to nothing of who has it now', async () => {
  const { operator, newOrganization, newUser, store, token, user } = control();
  const before = await newOrganization();
  const owner = await newUser();
  await store.members.add('system', before.id, owner.id, 'owner');
  const scopes = ['organization:write', 'projects:write'];
  const made = await store.apiTokens.create('system', before.id, { name: 'CI', scopes });
  await user(owner).updateOrganization({ organization: before.slug, update: { slug: `${before.slug}-new` } });
  const after = await operator.createOrganization({ create: { name: 'Squatter', slug: before.slug } });
  expect(await operator.getOrganization({ organization: before.slug })).toMatchObject({ id: after.id });
  for (const caller of [token(made.token), user(owner)]) {
    const create = { name: 'App' };
    await expect(caller.createProject({ organization: before.slug, create })).rejects.toMatchObject({
      code: Code.NotFound,
    });
    expect(await caller.getOrganization({ organization: `${before.id}` })).toMatchObject({ id: before.id });
  }
});

test('tokens and invitations stay where who made them goes', async () => {
  const { newOrganization, newUser, store, token, user } = control();
  const { id, slug: organization } = await newOrganization();
  const [owner, other, invited] = [await newUser(), await newUser(), await newUser()];
  for (const { id: userId } of [owner, other]) await store.members.add('system', id, userId, 'owner');
  const scopes = ['organization:write'];
  const made = await user(owner).createApiToken({ organization, create: { name: 'CI', scopes } });
  const create = { email: invited.email, role: Role.MEMBER };
  const { token: secret = '' } = await user(owner).createInvitation({ organization, create });
  await user(other).deleteMember({ organization, member: owner.id });
  const known = await store.apiTokens.authenticate(made.token ?? '');
  if (known === undefined) throw new Error('the token is gone');
  const { id: child, token: childSecret = '' } = await token(known).createApiToken({
    organization,
    create: { name: 'Child', scopes },
  });
  await store.apiTokens.revoke('system', id, known.id);
  expect(await store.apiTokens.authenticate(childSecret)).toMatchObject({ id: child });
  expect(await store.invitations.accept('system', secret, invited.id)).toMatchObject({ role: 'member' });
});
