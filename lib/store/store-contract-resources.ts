import { create } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import {
  FilterSettingsSchema,
  QuotaSchema,
  RateLimitSchema,
  ScrubbingSettingsSchema,
} from '#gen/tideway/control/v1/resources_pb.ts';
import { MAX_LOOKUP_KEYS, type Store } from './store.ts';
import { ACTOR, everyPage, expectRefusal, firstKey, newOrganization, newProject, uniqueSlug } from './store-harness.ts';

const QUOTA = create(QuotaSchema, { id: 'errors', categories: ['error'], limit: 0n, windowSec: 60, reasonCode: 'off' });
const COUNTED = create(QuotaSchema, { id: 'all' });
/** What no resource is called, however it got here. */
const NONSENSE = ['', '0', '18446744073709551615', '9'.repeat(400), 'a\0b', "a'b", 'A', 'ä', '1e3'];

export function describeResources(getStore: () => Store): void {
  describe('organizations', () => {
    test('are found by number and by slug', async () => {
      const store = getStore();
      const slug = uniqueSlug('org');
      const quotas = [QUOTA, COUNTED];
      const made = await store.organizations.create(ACTOR, { slug, name: 'Acme', region: 'eu', quotas });
      expect(made).toMatchObject({ slug, name: 'Acme', region: 'eu', state: 'active', quotas });
      expect(await store.organizations.get(made.id)).toEqual(made);
      expect(await store.organizations.get(`${made.id}`)).toEqual(made);
      expect(await store.organizations.get(slug)).toEqual(made);
      for (const ref of NONSENSE) expect(await store.organizations.get(ref)).toBeUndefined();
    });

    test('take the slug they ask for, or one of their name', async () => {
      const store = getStore();
      const name = `Ünder ${uniqueSlug('x')}!`;
      const first = await store.organizations.create(ACTOR, { name, region: '' });
      const second = await store.organizations.create(ACTOR, { name, region: '' });
      expect(first.slug).toMatch(/^under-x-[0-9a-f-]+$/);
      expect(second.slug).toMatch(new RegExp(`^${first.slug}-[0-9a-f]{8}$`));
      await expectRefusal('slug_taken', store.organizations.create(ACTOR, { name, slug: first.slug, region: '' }));
      await expectRefusal('slug_taken', store.organizations.update(ACTOR, second.id, { slug: first.slug }));
      expect((await store.organizations.update(ACTOR, first.id, { slug: first.slug })).etag).toBe(first.etag);
    });

    test('change what is asked, unless somebody else has changed them since', async () => {
      const store = getStore();
      const before = await newOrganization(store);
      const after = await store.organizations.update(ACTOR, before.id, { name: 'New' }, { etag: before.etag });
      expect(after).toMatchObject({ ...before, name: 'New', etag: after.etag, updatedMs: after.updatedMs });
      expect(after.etag).not.toBe(before.etag);
      const late = store.organizations.update(ACTOR, before.id, { name: 'Late' }, { etag: before.etag });
      await expectRefusal('etag', late);
      await expectRefusal('not_found', store.organizations.update(ACTOR, 999_999n, { name: 'None' }));
      expect(await store.organizations.get(before.id)).toEqual(after);
    });

    test('are listed all, by number, or by name', async () => {
      const store = getStore();
      const made = [await newOrganization(store), await newOrganization(store), await newOrganization(store)];
      const ids = made.map(({ id }) => id);
      expect((await store.organizations.list({ ids })).items).toEqual(made);
      expect((await store.organizations.list({ ids: [] })).items).toEqual([]);
      const all = (await everyPage((page) => store.organizations.list(page), 2)).flat();
      expect(all).toEqual([...all].sort((a, b) => Number(a.id - b.id)));
      expect(all).toEqual(expect.arrayContaining(made));
    });
  });

  describe('projects', () => {
    test('begin with a key, every origin, scrubbing, and 90 days', async () => {
      const store = getStore();
      const { project, key } = await newProject(store);
      expect(project).toMatchObject({ state: 'active', allowedDomains: ['*'], quotas: [], retentionDays: 90 });
      expect(project.scrubbing).toMatchObject({ scrubData: true, scrubDefaults: true, scrubIpAddresses: false });
      expect(key).toMatchObject({ projectId: project.id, state: 'active', rateLimit: undefined });
      expect(key.publicKey).toMatch(/^[0-9a-f]{32}$/);
    });

    test('are found through their organization only', async () => {
      const store = getStore();
      const { organization, project } = await newProject(store);
      const other = await newProject(store);
      expect(await store.projects.get(organization.id, project.slug)).toEqual(project);
      expect(await store.projects.get(organization.id, project.id)).toEqual(project);
      expect(await store.projects.get(other.organization.id, project.id)).toBeUndefined();
      expect(await store.projects.get(other.organization.id, project.slug)).toBeUndefined();
      for (const ref of NONSENSE) expect(await store.projects.get(organization.id, ref)).toBeUndefined();
      const foreign = store.projects.update(ACTOR, other.organization.id, project.id, { name: 'Mine' });
      await expectRefusal('not_found', foreign);
      await expectRefusal('not_found', store.projects.create(ACTOR, 999_999n, { name: 'None' }));
    });

    test('keep their settings as they were given', async () => {
      const store = getStore();
      const { organization, project } = await newProject(store);
      const patch = {
        slug: uniqueSlug('new'),
        name: 'Näme "quoted"\n',
        platform: 'node',
        state: 'disabled',
        allowedDomains: ['https://*.example.com', 'localhost'],
        filters: create(FilterSettingsSchema, { localhost: true, clientIps: ['10.0.0.0/8'] }),
        scrubbing: create(ScrubbingSettingsSchema, { piiConfigJson: '{"rules":{}}', sensitiveFields: ['a\0b'] }),
        quotas: [QUOTA, COUNTED],
        retentionDays: 7,
      } as const;
      const after = await store.projects.update(ACTOR, organization.id, project.id, patch, { etag: project.etag });
      expect(after).toMatchObject(patch);
      expect(await store.projects.get(organization.id, patch.slug)).toEqual(after);
      expect((await store.projects.list(organization.id, {})).items).toEqual([after]);
      const late = store.projects.update(ACTOR, organization.id, project.id, { name: 'x' }, { etag: project.etag });
      await expectRefusal('etag', late);
    });

    test('have slugs that are unique in their organization', async () => {
      const store = getStore();
      const { organization, project } = await newProject(store);
      const other = await newOrganization(store);
      const { slug } = project;
      await expectRefusal('slug_taken', store.projects.create(ACTOR, organization.id, { name: 'x', slug }));
      expect((await store.projects.create(ACTOR, other.id, { name: 'x', slug })).slug).toBe(slug);
    });

    test('raise their revision with whatever relays see of them', async () => {
      const store = getStore();
      const { organization, project, key } = await newProject(store);
      const seen: bigint[] = [];
      const look = async () => {
        const [config] = [...(await store.configs.get([key.publicKey])).values()];
        const now = await store.projects.get(organization.id, project.id);
        expect(config?.revision).toBe(now?.revision);
        seen.push(now?.revision ?? 0n);
      };
      await look();
      await store.projects.update(ACTOR, organization.id, project.id, { name: 'New' });
      await look();
      const second = await store.keys.create(ACTOR, project.id, { name: 'Second' });
      await look();
      await store.keys.update(ACTOR, project.id, second.publicKey, { state: 'disabled' });
      await look();
      await store.keys.rotate(ACTOR, project.id, key.publicKey);
      await look();
      await store.organizations.update(ACTOR, organization.id, { quotas: [QUOTA] });
      await look();
      expect(seen).toEqual([...new Set(seen)].sort((a, b) => Number(a - b)));
    });

    test('do not change where nothing changes', async () => {
      const store = getStore();
      const { organization, project, key } = await newProject(store);
      const audit = () => store.audit.list(organization.id, {});
      const [before, cursor] = [await audit(), await store.changes.cursor()];
      const { name, filters, quotas, retentionDays } = project;
      const patch = { name, filters, quotas, retentionDays };
      expect(await store.projects.update(ACTOR, organization.id, project.id, patch)).toEqual(project);
      expect(await store.keys.update(ACTOR, project.id, key.publicKey, { name: key.name })).toEqual(key);
      await store.organizations.update(ACTOR, organization.id, {});
      expect(await audit()).toEqual(before);
      expect(await store.changes.cursor()).toBe(cursor);
    });

    test('of many racing updates with one etag, one happens', async () => {
      const store = getStore();
      const { organization, project } = await newProject(store);
      const { etag } = project;
      const names = Array.from({ length: 10 }, (_, index) => `name ${index}`);
      const results = await Promise.allSettled(
        names.map((name) => store.projects.update(ACTOR, organization.id, project.id, { name }, { etag })),
      );
      expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    });

    test('of many racing creations with one slug, one happens', async () => {
      const store = getStore();
      const organization = await newOrganization(store);
      const slug = uniqueSlug('race');
      const create = () => store.projects.create(ACTOR, organization.id, { name: 'Race', slug });
      const results = await Promise.allSettled(Array.from({ length: 10 }, create));
      expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      expect((await store.projects.list(organization.id, {})).items).toHaveLength(1);
    });
  });

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
