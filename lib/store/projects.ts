import { create } from '@bufbuild/protobuf';
import type { Kysely, Transaction } from 'kysely';
import { FilterSettingsSchema, ScrubbingSettingsSchema } from '#gen/tideway/control/v1/resources_pb.ts';
import type { Access } from './access.ts';
import { parseRef } from './identifiers.ts';
import type { Mutation } from './mutation.ts';
import { Paging } from './page.ts';
import { insertProjectKey } from './project-keys.ts';
import type { NewProject, Project, ProjectPatch } from './records.ts';
import { etagOf, found, requireEtag, rowChanges } from './row-changes.ts';
import type { ProjectTable, Schema } from './schema.ts';
import { filtersColumn, quotasColumn, scrubbingColumn, stringsColumn } from './settings-json.ts';
import { chooseSlug } from './slug.ts';
import type { By, Page, PageRequest, Projects, Ref, UpdateOptions } from './store.ts';

const DEFAULT_RETENTION_DAYS = 90;
const EVERY_ORIGIN = ['*'];
const FIRST_KEY_NAME = 'Default';

export function createProjects(access: Access): Projects {
  return {
    create: (by, organizationId, input) =>
      access.mutate(by, (mutation) => insertProject(mutation, organizationId, input)),
    get: (organizationId, ref) => getProject(access, organizationId, ref),
    list: (organizationId, query) => listProjects(access, organizationId, query),
    update: (by, organizationId, id, patch, options) => updateProject(access, by, organizationId, id, patch, options),
  };
}

export async function insertProject(mutation: Mutation, organizationId: bigint, input: NewProject): Promise<Project> {
  const { tx, nowMs } = mutation;
  const organization = await tx
    .selectFrom('organizations')
    .select('id')
    .where('id', '=', organizationId)
    .executeTakeFirst();
  found(organization, 'organization');
  const slug = await chooseSlug(input.slug, input.name, (candidate) => isSlugTaken(tx, organizationId, candidate));
  const id = await mutation.nextId('projects');
  const version = await mutation.record({
    action: 'project.create',
    target: `projects/${id}`,
    organizationId,
    relays: { projectId: id },
  });
  const row: ProjectTable = {
    id,
    organization_id: organizationId,
    slug,
    name: input.name,
    platform: input.platform ?? '',
    state: 'active',
    allowed_domains: stringsColumn.encode(input.allowedDomains ?? EVERY_ORIGIN),
    filters: filtersColumn.encode(input.filters ?? create(FilterSettingsSchema)),
    scrubbing: scrubbingColumn.encode(
      input.scrubbing ?? create(ScrubbingSettingsSchema, { scrubData: true, scrubDefaults: true }),
    ),
    quotas: quotasColumn.encode(input.quotas ?? []),
    retention_days: BigInt(input.retentionDays ?? DEFAULT_RETENTION_DAYS),
    created_ms: nowMs,
    updated_ms: nowMs,
    version,
    revision: version,
  };
  await tx.insertInto('projects').values(row).execute();
  const key = await insertProjectKey(mutation, { organizationId, projectId: id, name: FIRST_KEY_NAME });
  return projectOf({ ...row, revision: key.version, organization_version: 0n });
}

async function getProject(access: Access, organizationId: bigint, ref: Ref): Promise<Project | undefined> {
  const by = parseRef(ref);
  if (by === undefined) return undefined;
  const row = await access.read((db) => {
    const query = projectRows(db).where('projects.organization_id', '=', organizationId);
    return (
      'id' in by ? query.where('projects.id', '=', by.id) : query.where('projects.slug', '=', by.slug)
    ).executeTakeFirst();
  });
  return row && projectOf(row);
}

async function listProjects(access: Access, organizationId: bigint, query: PageRequest): Promise<Page<Project>> {
  const paging = new Paging(query, 'projects', organizationId);
  const piece = (after = 0n, limit: number) =>
    access.read((db) =>
      projectRows(db)
        .where('projects.organization_id', '=', organizationId)
        .where('projects.id', '>', after)
        .orderBy('projects.id')
        .limit(limit)
        .execute(),
    );
  return paging.read(piece, ({ id }) => id, projectOf);
}

function updateProject(
  access: Access,
  by: By,
  organizationId: bigint,
  id: bigint,
  patch: ProjectPatch,
  { etag }: UpdateOptions = {},
): Promise<Project> {
  return access.mutate(by, async (mutation) => {
    const { tx, nowMs } = mutation;
    const row = found(
      await projectRows(tx)
        .where('projects.id', '=', id)
        .where('projects.organization_id', '=', organizationId)
        .executeTakeFirst(),
      'project',
    );
    requireEtag(row.version, etag);
    const changes = rowChanges<ProjectTable>(row, columnsOf(patch));
    if (changes === undefined) return projectOf(row);
    if (changes.values.slug !== undefined) {
      await chooseSlug(changes.values.slug, row.name, (candidate) => isSlugTaken(tx, organizationId, candidate));
    }
    const version = await mutation.record({
      action: 'project.update',
      target: `projects/${id}`,
      organizationId,
      fields: changes.fields,
      relays: { projectId: id },
    });
    const values = { ...changes.values, updated_ms: nowMs, version, revision: version };
    await tx.updateTable('projects').set(values).where('id', '=', id).execute();
    return projectOf({ ...row, ...values });
  });
}

function columnsOf(patch: ProjectPatch) {
  const { slug, name, platform, state, allowedDomains, filters, scrubbing, quotas, retentionDays } = patch;
  return {
    slug,
    name,
    platform,
    state,
    allowed_domains: allowedDomains && stringsColumn.encode(allowedDomains),
    filters: filters && filtersColumn.encode(filters),
    scrubbing: scrubbing && scrubbingColumn.encode(scrubbing),
    quotas: quotas && quotasColumn.encode(quotas),
    retention_days: retentionDays === undefined ? undefined : BigInt(retentionDays),
  };
}

async function isSlugTaken(tx: Transaction<Schema>, organizationId: bigint, slug: string): Promise<boolean> {
  const other = await tx
    .selectFrom('projects')
    .select('id')
    .where('organization_id', '=', organizationId)
    .where('slug', '=', slug)
    .executeTakeFirst();
  return other !== undefined;
}

export function projectRows(db: Kysely<Schema>) {
  return db
    .selectFrom('projects')
    .innerJoin('organizations', 'organizations.id', 'projects.organization_id')
    .selectAll('projects')
    .select('organizations.version as organization_version');
}

export function projectOf(row: ProjectTable & { readonly organization_version: bigint }): Project {
  return {
    id: row.id,
    organizationId: row.organization_id,
    slug: row.slug,
    name: row.name,
    platform: row.platform,
    state: row.state,
    revision: revisionOf(row.revision, row.organization_version),
    allowedDomains: stringsColumn.decode(row.allowed_domains),
    filters: filtersColumn.decode(row.filters),
    scrubbing: scrubbingColumn.decode(row.scrubbing),
    quotas: quotasColumn.decode(row.quotas),
    retentionDays: Number(row.retention_days),
    createdMs: Number(row.created_ms),
    updatedMs: Number(row.updated_ms),
    etag: etagOf(row.version),
  };
}

/** A change of an organization changes what relays see of all its projects, however many, by one row. */
export function revisionOf(projectRevision: bigint, organizationVersion: bigint): bigint {
  return projectRevision > organizationVersion ? projectRevision : organizationVersion;
}
