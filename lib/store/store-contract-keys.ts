import { create } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { RateLimitSchema } from '#gen/tideway/control/v1/resources_pb.ts';
import { MAX_LOOKUP_KEYS, type Store } from './store.ts';
import { ACTOR, everyPage, expectRefusal, firstKey, newOrganization, newProject } from './store-harness.ts';

export function describeKeys(getStore: () => Store): void {
  describe('keys', () => {
    test('change and rotate, each in its project only', async () => {
      const store = getStore();
      const { project, key } = await newProject(store);
      const other = await newProject(store);
      const rateLimit = create(RateLimitSchema, { windowSec: 60, count: 100n });
      const named = await store.keys.update(ACTOR, project.id, key.publicKey, { name: 'Web', rateLimit });
      expect(named).toMatchObject({ id: key.id, name: 'Web', rateLimit });
      await expectRefusal('etag', store.keys.rotate(ACTOR, project.id, key.publicKey, { etag: key.etag }));
      const next = await store.keys.rotate(ACTOR, project.id, key.publicKey, { etag: named.etag });
      expect(next).toMatchObject({ name: 'Web', rateLimit, state: 'active' });
      expect(next.publicKey).not.toBe(key.publicKey);
      expect(await store.keys.get(project.id, key.publicKey)).toMatchObject({ id: key.id, state: 'disabled' });
      expect((await store.keys.list(project.id, {})).items).toHaveLength(2);
      const free = await store.keys.update(ACTOR, project.id, next.publicKey, { rateLimit: null });
      expect(free.rateLimit).toBeUndefined();

      expect(await store.keys.get(other.project.id, next.publicKey)).toBeUndefined();
      await expectRefusal('not_found', store.keys.update(ACTOR, other.project.id, next.publicKey, { name: 'x' }));
      await expectRefusal('not_found', store.keys.rotate(ACTOR, project.id, 'x\0'));
      await expectRefusal('not_found', store.keys.create(ACTOR, 999_999n, { name: 'x' }));
    });
  });

  describe('configs', () => {
    test('say all that relays need to know of a key', async () => {
      const store = getStore();
      const { organization, project, key } = await newProject(store);
      const config = (await store.configs.get([key.publicKey])).get(key.publicKey);
      const { id, slug, allowedDomains, filters, scrubbing, quotas, retentionDays } = project;
      expect(config).toEqual({
        publicKey: key.publicKey,
        keyId: key.id,
        active: true,
        revision: project.revision,
        rateLimit: undefined,
        project: { id, slug, allowedDomains, filters, scrubbing, quotas, retentionDays },
        organization: { id: organization.id, slug: organization.slug, region: 'local', quotas: [] },
      });
    });

    test('are of active keys only if project and organization are active too', async () => {
      const store = getStore();
      const { organization, project, key } = await newProject(store);
      const { id } = organization;
      const isActive = async () => (await store.configs.get([key.publicKey])).get(key.publicKey)?.active;
      for (const set of [
        (state: 'active' | 'disabled') => store.keys.update(ACTOR, project.id, key.publicKey, { state }),
        (state: 'active' | 'disabled') => store.projects.update(ACTOR, id, project.id, { state }),
        (state: 'active' | 'disabled') => store.organizations.update(ACTOR, id, { state }),
      ]) {
        await set('disabled');
        expect(await isActive()).toBe(false);
        await set('active');
        expect(await isActive()).toBe(true);
      }
    });

    test('are looked up many at once, and no more than that', async () => {
      const store = getStore();
      const { organization, project, key } = await newProject(store);
      const second = await store.projects.create(ACTOR, organization.id, { name: 'Second' });
      const other = await firstKey(store, second.id);
      const unknown = Array.from({ length: MAX_LOOKUP_KEYS - 4 }, (_, index) => index.toString(16).padStart(32, '0'));
      const asked = [key.publicKey, ...unknown, other.publicKey, 'nonsense', 'a\0b'];
      const configs = await store.configs.get(asked);
      expect([...configs.values()].map((config) => config.project.id).sort()).toEqual([project.id, second.id]);
      expect(await store.configs.get([])).toEqual(new Map());
      await expect(store.configs.get([...asked, '1', '2'])).rejects.toThrow(RangeError);
    });
  });

  describe('pages', () => {
    test('hold everything once, and a token is good for its own list', async () => {
      const store = getStore();
      const organization = await newOrganization(store);
      for (const name of ['a', 'b', 'c', 'd', 'e']) await store.projects.create(ACTOR, organization.id, { name });
      const list = store.projects.list.bind(store.projects, organization.id);
      const pages = await everyPage(list, 2);
      expect(pages.map((page) => page.map(({ name }) => name))).toEqual([['a', 'b'], ['c', 'd'], ['e']]);
      expect(await everyPage(list, 5)).toHaveLength(1);

      const { nextPageToken: pageToken } = await list({ pageSize: 2 });
      const other = await newOrganization(store);
      await expectRefusal('page_token', store.projects.list(other.id, { pageToken }));
      await expectRefusal('page_token', store.audit.list(organization.id, { pageToken }));
      await expectRefusal('page_token', list({ pageToken: 'x' }));
    });
  });

  describe('the audit log', () => {
    test('says who did what, newest first', async () => {
      const store = getStore();
      const { organization, project } = await newProject(store);
      const actor = 'token:00000000-0000-4000-8000-000000000002';
      await store.projects.update(actor, organization.id, project.id, { name: 'New', retentionDays: 1 });
      const entries = (await everyPage((page) => store.audit.list(organization.id, page), 3)).flat();
      expect(entries.map(({ action }) => action)).toEqual([
        'project.update',
        'key.create',
        'project.create',
        'organization.create',
      ]);
      const fields = ['name', 'retention_days'];
      expect(entries[0]).toMatchObject({ actor, target: `projects/${project.id}`, fields });
      expect(entries[1]).toMatchObject({ actor: ACTOR, fields: [] });
    });
  });
}
