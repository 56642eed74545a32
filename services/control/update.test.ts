import { create } from '@bufbuild/protobuf';
import { FieldMaskSchema } from '@bufbuild/protobuf/wkt';
import { describe, expect, test } from 'vitest';
import { OrganizationSchema, ProjectKeySchema, ProjectSchema, State } from '#gen/tideway/control/v1/resources_pb.ts';
import { StoreRefusal } from '#lib/store/store-errors.ts';
import { applyUpdate, updateResource } from './update.ts';

const current = create(ProjectSchema, {
  id: 7n,
  slug: 'app',
  name: 'App',
  state: State.ACTIVE,
  allowedDomains: ['a.example'],
  filters: { localhost: true, releases: ['1.*'] },
  scrubbing: { scrubData: true, scrubDefaults: true },
  retentionDays: 90,
  etag: 'v1',
});
const project = (init: Parameters<typeof create<typeof ProjectSchema>>[1]) => create(ProjectSchema, init);
const mask = (...paths: string[]) => create(FieldMaskSchema, { paths });

describe('without a mask', () => {
  test('what is set is changed, and nothing else', () => {
    const { result, fields, isPartial } = applyUpdate(ProjectSchema, current, project({ name: 'New' }), undefined);
    expect([...fields]).toEqual(['name']);
    expect(isPartial).toBe(false);
    expect(result).toEqual({ ...current, name: 'New' });
  });

  test('an empty mask is none', () => {
    const { fields } = applyUpdate(ProjectSchema, current, project({ name: 'New' }), mask());
    expect([...fields]).toEqual(['name']);
  });

  test('of a group each field that is set is changed', () => {
    const update = project({ scrubbing: { sensitiveFields: ['iban'] } });
    const { result, fields, isPartial } = applyUpdate(ProjectSchema, current, update, undefined);
    expect([...fields]).toEqual(['scrubbing']);
    expect(isPartial).toBe(true);
    expect(result.scrubbing).toMatchObject({ scrubData: true, scrubDefaults: true, sensitiveFields: ['iban'] });
  });

  test('a value is replaced, also by one whose count is 0', () => {
    const key = create(ProjectKeySchema, { rateLimit: { windowSec: 60, count: 5n } });
    const update = create(ProjectKeySchema, { rateLimit: { windowSec: 1 } });
    const { result } = applyUpdate(ProjectKeySchema, key, update, undefined);
    expect(result.rateLimit).toMatchObject({ windowSec: 1, count: 0n });
  });

  test('what is output only, and the etag, are passed over', () => {
    const update = project({ id: 9n, revision: 3n, etag: 'v9', organizationId: 4n });
    const { result, fields } = applyUpdate(ProjectSchema, current, update, undefined);
    expect([...fields]).toEqual([]);
    expect(result).toEqual(current);
  });
});

describe('with a mask', () => {
  test('what it names is changed or cleared, and nothing else', () => {
    const update = project({ name: 'New', slug: 'not-named' });
    const { result, fields } = applyUpdate(ProjectSchema, current, update, mask('name', 'allowed_domains', 'filters'));
    expect([...fields].sort()).toEqual(['allowed_domains', 'filters', 'name']);
    expect(result).toMatchObject({ name: 'New', slug: 'app', allowedDomains: [] });
    expect(result.filters).toBeUndefined();
  });

  test('a field of a group', () => {
    const { result, isPartial } = applyUpdate(ProjectSchema, current, project({}), mask('filters.localhost'));
    expect(isPartial).toBe(true);
    expect(result.filters).toMatchObject({ localhost: false, releases: ['1.*'] });
  });

  test('* is everything that can be changed', () => {
    const { result, fields } = applyUpdate(ProjectSchema, current, project({ name: 'New' }), mask('*'));
    expect(fields).toContain('quotas');
    expect(fields).not.toContain('id');
    expect(result).toMatchObject({ id: 7n, name: 'New', slug: '', etag: 'v1' });
  });

  test('what is output only is passed over', () => {
    expect(applyUpdate(ProjectSchema, current, project({ id: 9n }), mask('id', 'etag')).fields.size).toBe(0);
  });

  test.each([
    'nope',
    'Name',
    'allowedDomains',
    'filters.nope',
    'filters.localhost.x',
    'quotas.id',
    'create_time.seconds',
    '',
    '.',
  ])('%j is refused', (path) => {
    expect(() => applyUpdate(ProjectSchema, current, project({}), mask(path))).toThrow(
      'update_mask: names no such field',
    );
  });

  test('so are too many paths', () => {
    const paths = Array.from({ length: 65 }, () => 'name');
    expect(() => applyUpdate(ProjectSchema, current, project({}), mask(...paths))).toThrow('at most 64 paths');
  });
});

test('what can’t be changed may be said again, but not otherwise', () => {
  const organization = create(OrganizationSchema, { region: 'eu', name: 'Acme' });
  const update = (region: string) =>
    applyUpdate(OrganizationSchema, organization, create(OrganizationSchema, { region }), undefined);
  expect(update('eu').fields.size).toBe(0);
  expect(() => update('us')).toThrow('update.region: can not be changed');
});

describe('an update of what may change meanwhile', () => {
  /** A store whose resource somebody else changes `foreign` times, each just before a write. */
  function setUp(foreign: number) {
    let version = 1;
    const written: string[] = [];
    return {
      written,
      read: async () => ({ etag: `v${version}` }),
      write: async (_: unknown, etag: string) => {
        if (foreign-- > 0) version++;
        if (etag !== '' && etag !== `v${version}`) throw new StoreRefusal('etag');
        written.push(etag);
        return { etag: `v${++version}` };
      },
    };
  }
  const update = (isPartial: boolean) => () => ({ result: undefined, fields: new Set<string>(), isPartial });

  test('a part of a field is changed in what is there', async () => {
    const { read, write, written } = setUp(2);
    await updateResource('', read, update(true), write);
    expect(written).toEqual(['v3']);
  });

  test('a whole field needs no etag', async () => {
    const { read, write, written } = setUp(2);
    await updateResource('', read, update(false), write);
    expect(written).toEqual(['']);
  });

  test('the caller’s etag is the caller’s business', async () => {
    const { read, write } = setUp(1);
    await expect(updateResource('v1', read, update(true), write)).rejects.toMatchObject({ reason: 'etag' });
  });

  test('it gives up', async () => {
    const { read, write } = setUp(100);
    await expect(updateResource('', read, update(true), write)).rejects.toMatchObject({ reason: 'etag' });
  });
});
