import type { Kysely } from 'kysely';
import type { Access } from './access.ts';
import { isPublicKey } from './identifiers.ts';
import type { Mutation } from './mutation.ts';
import { Paging } from './page.ts';
import type { NewProjectKey, ProjectKey, ProjectKeyPatch } from './records.ts';
import { etagOf, found, requireEtag, rowChanges } from './row-changes.ts';
import type { ProjectKeyTable, Schema } from './schema.ts';
import { newPublicKey } from './secrets.ts';
import { rateLimitColumn } from './settings-json.ts';
import type { By, Page, PageRequest, ProjectKeys, UpdateOptions } from './store.ts';

export function createProjectKeys(access: Access): ProjectKeys {
  return {
    create: (by, projectId, input) => createKey(access, by, projectId, input),
    get: (projectId, publicKey) => getKey(access, projectId, publicKey),
    list: (projectId, query) => listKeys(access, projectId, query),
    update: (by, projectId, publicKey, patch, options) => updateKey(access, by, projectId, publicKey, patch, options),
    rotate: (by, projectId, publicKey, options) => rotateKey(access, by, projectId, publicKey, options),
  };
}

interface NewKey {
  readonly organizationId: bigint;
  readonly projectId: bigint;
  readonly name: string;
  readonly rateLimit?: string | null | undefined;
}

/** For callers who know that the project is there. */
export async function insertProjectKey(
  mutation: Mutation,
  { organizationId, projectId, name, rateLimit }: NewKey,
): Promise<ProjectKeyTable> {
  const { tx, nowMs } = mutation;
  const id = await mutation.nextId('project_keys');
  const public_key = newPublicKey();
  const version = await recordOf(mutation, 'create', { organizationId, projectId, publicKey: public_key });
  const row: ProjectKeyTable = {
    id,
    project_id: projectId,
    public_key,
    name,
    state: 'active',
    rate_limit: rateLimit ?? null,
    created_ms: nowMs,
    updated_ms: nowMs,
    version,
  };
  await tx.insertInto('project_keys').values(row).execute();
  return row;
}

function createKey(access: Access, by: By, projectId: bigint, input: NewProjectKey): Promise<ProjectKey> {
  return access.mutate(by, async (mutation) => {
    const organizationId = await organizationOfProject(mutation.tx, projectId);
    const rateLimit = input.rateLimit && rateLimitColumn.encode(input.rateLimit);
    const key = { organizationId, projectId, name: input.name, rateLimit };
    return projectKeyOf(await insertProjectKey(mutation, key));
  });
}

async function getKey(access: Access, projectId: bigint, publicKey: string): Promise<ProjectKey | undefined> {
  const row = await access.read((db) => keyRow(db, projectId, publicKey));
  return row && projectKeyOf(row);
}

async function listKeys(access: Access, projectId: bigint, query: PageRequest): Promise<Page<ProjectKey>> {
  const paging = new Paging(query, 'keys', projectId);
  const rows = await access.read((db) =>
    db
      .selectFrom('project_keys')
      .selectAll()
      .where('project_id', '=', projectId)
      .where('id', '>', paging.after ?? 0n)
      .orderBy('id')
      .limit(paging.limit)
      .execute(),
  );
  return paging.page(rows, ({ id }) => id, projectKeyOf);
}

function updateKey(
  access: Access,
  by: By,
  projectId: bigint,
  publicKey: string,
  patch: ProjectKeyPatch,
  { etag }: UpdateOptions = {},
): Promise<ProjectKey> {
  return access.mutate(by, async (mutation) => {
    const row = found(await keyRow(mutation.tx, projectId, publicKey), 'key');
    requireEtag(row.version, etag);
    const { name, state, rateLimit } = patch;
    return projectKeyOf(
      await changeKey(mutation, row, { name, state, rate_limit: rateLimit && rateLimitColumn.encode(rateLimit) }),
    );
  });
}

function rotateKey(
  access: Access,
  by: By,
  projectId: bigint,
  publicKey: string,
  { etag }: UpdateOptions = {},
): Promise<ProjectKey> {
  return access.mutate(by, async (mutation) => {
    const row = found(await keyRow(mutation.tx, projectId, publicKey), 'key');
    requireEtag(row.version, etag);
    await changeKey(mutation, row, { state: 'disabled' });
    const organizationId = await organizationOfProject(mutation.tx, projectId);
    const { name, rate_limit: rateLimit } = row;
    return projectKeyOf(await insertProjectKey(mutation, { organizationId, projectId, name, rateLimit }));
  });
}

type KeyColumns = Partial<{ [K in 'name' | 'state' | 'rate_limit']: ProjectKeyTable[K] | undefined }>;

async function changeKey(mutation: Mutation, row: ProjectKeyTable, patch: KeyColumns): Promise<ProjectKeyTable> {
  const { tx, nowMs } = mutation;
  const changes = rowChanges(row, patch);
  if (changes === undefined) return row;
  const { project_id: projectId, public_key: publicKey } = row;
  const organizationId = await organizationOfProject(tx, projectId);
  const version = await recordOf(mutation, 'update', { organizationId, projectId, publicKey }, changes.fields);
  const values = { ...changes.values, updated_ms: nowMs, version };
  await tx.updateTable('project_keys').set(values).where('id', '=', row.id).execute();
  return { ...row, ...values };
}

interface KeyPath {
  readonly organizationId: bigint;
  readonly projectId: bigint;
  readonly publicKey: string;
}

/** What happens to a key changes what relays see of its project. */
async function recordOf(
  mutation: Mutation,
  verb: string,
  { organizationId, projectId, publicKey }: KeyPath,
  fields: readonly string[] = [],
): Promise<bigint> {
  const revision = await mutation.record({
    action: `key.${verb}`,
    target: `projects/${projectId}/keys/${publicKey}`,
    organizationId,
    fields,
    relays: { projectId },
  });
  await mutation.tx.updateTable('projects').set({ revision }).where('id', '=', projectId).execute();
  return revision;
}

async function organizationOfProject(tx: Kysely<Schema>, projectId: bigint): Promise<bigint> {
  const row = await tx.selectFrom('projects').select('organization_id').where('id', '=', projectId).executeTakeFirst();
  return found(row, 'project').organization_id;
}

async function keyRow(db: Kysely<Schema>, projectId: bigint, publicKey: string) {
  if (!isPublicKey(publicKey)) return undefined;
  return db
    .selectFrom('project_keys')
    .selectAll()
    .where('public_key', '=', publicKey)
    .where('project_id', '=', projectId)
    .executeTakeFirst();
}

export function projectKeyOf(row: ProjectKeyTable): ProjectKey {
  return {
    id: row.id,
    projectId: row.project_id,
    publicKey: row.public_key,
    name: row.name,
    state: row.state,
    rateLimit: row.rate_limit === null ? undefined : rateLimitColumn.decode(row.rate_limit),
    createdMs: Number(row.created_ms),
    updatedMs: Number(row.updated_ms),
    etag: etagOf(row.version),
  };
}
