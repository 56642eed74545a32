import type { Transaction } from 'kysely';
import type { Access } from './access.ts';
import { parseRef } from './identifiers.ts';
import { insertMember } from './members.ts';
import type { Mutation } from './mutation.ts';
import { Paging } from './page.ts';
import type { NewOrganization, Organization, OrganizationPatch } from './records.ts';
import { etagOf, found, requireEtag, rowChanges } from './row-changes.ts';
import type { OrganizationTable, Schema } from './schema.ts';
import { quotasColumn } from './settings-json.ts';
import { chooseSlug } from './slug.ts';
import type { By, Organizations, Page, PageRequest, Ref, UpdateOptions } from './store.ts';

export function createOrganizations(access: Access): Organizations {
  return {
    create: (by, input) => access.mutate(by, (mutation) => insertOrganization(mutation, input)),
    get: (ref) => getOrganization(access, ref),
    list: (query) => listOrganizations(access, query),
    update: (by, id, patch, options) => updateOrganization(access, by, id, patch, options),
  };
}

export async function insertOrganization(mutation: Mutation, input: NewOrganization): Promise<Organization> {
  const { tx, nowMs } = mutation;
  const slug = await chooseSlug(input.slug, input.name, (candidate) => isSlugTaken(tx, candidate));
  const id = await mutation.nextId('organizations');
  const version = await mutation.record({
    action: 'organization.create',
    target: `organizations/${id}`,
    organizationId: id,
    relays: 'organization',
  });
  const row: OrganizationTable = {
    id,
    slug,
    name: input.name,
    state: 'active',
    region: input.region,
    quotas: quotasColumn.encode(input.quotas ?? []),
    created_ms: nowMs,
    updated_ms: nowMs,
    version,
  };
  await tx.insertInto('organizations').values(row).execute();
  if (input.ownerId !== undefined) await insertMember(mutation, id, input.ownerId, 'owner');
  return organizationOf(row);
}

async function getOrganization(access: Access, ref: Ref): Promise<Organization | undefined> {
  const by = parseRef(ref);
  if (by === undefined) return undefined;
  const row = await access.read((db) => {
    const query = db.selectFrom('organizations').selectAll();
    return ('id' in by ? query.where('id', '=', by.id) : query.where('slug', '=', by.slug)).executeTakeFirst();
  });
  return row && organizationOf(row);
}

async function listOrganizations(
  access: Access,
  query: PageRequest & { readonly userId?: string | undefined; readonly ids?: readonly bigint[] | undefined },
): Promise<Page<Organization>> {
  const { userId, ids } = query;
  const paging = new Paging(query, 'organizations', userId, ids);
  if (ids?.length === 0) return { items: [], nextPageToken: '' };
  const piece = (after: bigint | undefined, limit: number) =>
    access.read((db) =>
      db
        .selectFrom('organizations')
        .selectAll()
        .$if(ids !== undefined, (some) => some.where('id', 'in', ids ?? []))
        .$if(userId !== undefined, (some) =>
          some.where('id', 'in', (eb) =>
            eb
              .selectFrom('members')
              .select('organization_id')
              .where('user_id', '=', userId ?? ''),
          ),
        )
        .$if(after !== undefined, (some) => some.where('id', '>', after ?? 0n))
        .orderBy('id')
        .limit(limit)
        .execute(),
    );
  return paging.read(piece, ({ id }) => id, organizationOf);
}

function updateOrganization(
  access: Access,
  by: By,
  id: bigint,
  patch: OrganizationPatch,
  { etag }: UpdateOptions = {},
): Promise<Organization> {
  return access.mutate(by, async (mutation) => {
    const { tx, nowMs } = mutation;
    const row = found(
      await tx.selectFrom('organizations').selectAll().where('id', '=', id).executeTakeFirst(),
      'organization',
    );
    requireEtag(row.version, etag);
    const { slug, name, state, quotas } = patch;
    const changes = rowChanges(row, { slug, name, state, quotas: quotas && quotasColumn.encode(quotas) });
    if (changes === undefined) return organizationOf(row);
    if (changes.values.slug !== undefined) {
      await chooseSlug(changes.values.slug, row.name, (candidate) => isSlugTaken(tx, candidate));
    }
    const version = await mutation.record({
      action: 'organization.update',
      target: `organizations/${id}`,
      organizationId: id,
      fields: changes.fields,
      relays: 'organization',
    });
    const values = { ...changes.values, updated_ms: nowMs, version };
    await tx.updateTable('organizations').set(values).where('id', '=', id).execute();
    return organizationOf({ ...row, ...values });
  });
}

async function isSlugTaken(tx: Transaction<Schema>, slug: string): Promise<boolean> {
  return (await tx.selectFrom('organizations').select('id').where('slug', '=', slug).executeTakeFirst()) !== undefined;
}

export function organizationOf(row: OrganizationTable): Organization {
  return {
    id: row.id,
    slug: row.slug,
    name: row.name,
    state: row.state,
    region: row.region,
    quotas: quotasColumn.decode(row.quotas),
    createdMs: Number(row.created_ms),
    updatedMs: Number(row.updated_ms),
    etag: etagOf(row.version),
  };
}
