import { Code } from '@connectrpc/connect';
import { expect, test } from 'vitest';
import { State } from '#gen/tideway/control/v1/resources_pb.ts';
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
