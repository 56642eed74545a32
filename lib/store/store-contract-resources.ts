import { create } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { FilterSettingsSchema, QuotaSchema, ScrubbingSettingsSchema } from '#gen/tideway/control/v1/resources_pb.ts';
import type { Store } from './store.ts';
import { ACTOR, everyPage, expectRefusal, newOrganization, newProject, uniqueSlug } from './store-harness.ts';

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

    test('of large ones a page has fewer', async () => {
      const store = getStore();
      const organization = await newOrganization(store);
      const filters = create(FilterSettingsSchema, { releases: Array.from({ length: 200 }, () => 'x'.repeat(1_000)) });
      const made = Array.from({ length: 9 }, (_, at) =>
        store.projects.create(ACTOR, organization.id, { name: `${at}`, filters }),
      );
      const ids = (await Promise.all(made)).map(({ id }) => id).sort((a, b) => Number(a - b));
      const pages = await everyPage((page) => store.projects.list(organization.id, page), 1_000);
      expect(pages.map((page) => page.length)).toEqual([5, 4]);
      expect(pages.flat().map(({ id }) => id)).toEqual(ids);
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
}
