import { randomUUID } from 'node:crypto';
import type { Kysely } from 'kysely';
import type { Access } from './access.ts';
import { isUuid } from './identifiers.ts';
import { actorOf, tokensInForce } from './mandate.ts';
import { requireOrganization } from './members.ts';
import type { Mutation } from './mutation.ts';
import { Paging } from './page.ts';
import type { ApiToken, NewApiToken } from './records.ts';
import { found } from './row-changes.ts';
import type { ApiTokenTable, Schema } from './schema.ts';
import { hashOfSecret, newApiSecret } from './secrets.ts';
import { stringsColumn } from './settings-json.ts';
import type { ApiTokens, By, Page, PageRequest } from './store.ts';
import { StoreRefusal } from './store-errors.ts';

const DAY_MS = 86_400_000n;

export function createApiTokens(access: Access): ApiTokens {
  return {
    create: (by, organizationId, input) =>
      access.mutate(by, async (mutation) => {
        await requireOrganization(mutation.tx, organizationId);
        await requireNoLongerLife(mutation.tx, by, input.expiresMs);
        return insertApiToken(mutation, organizationId, input);
      }),
    get: async (organizationId, id) => {
      const row = await access.read((db) => tokenRow(db, organizationId, id));
      return row && apiTokenOf(row);
    },
    list: (organizationId, query) => listTokens(access, organizationId, query),
    revoke: (by, organizationId, id) => revokeToken(access, by, organizationId, id),
    authenticate: (secret) => authenticate(access, secret),
  };
}

/** For callers who know that the organization is there. */
export async function insertApiToken(
  mutation: Mutation,
  organizationId: bigint,
  input: NewApiToken,
): Promise<{ token: ApiToken; secret: string }> {
  const { tx, nowMs } = mutation;
  const { secret, hash } = newApiSecret();
  const id = randomUUID();
  const number = await mutation.record({
    action: 'token.create',
    target: targetOf(organizationId, id),
    organizationId,
  });
  const row: ApiTokenTable = {
    id,
    organization_id: organizationId,
    name: input.name,
    scopes: stringsColumn.encode(input.scopes),
    secret_hash: hash,
    state: 'active',
    expires_ms: input.expiresMs === undefined ? null : BigInt(input.expiresMs),
    created_ms: nowMs,
    last_used_ms: null,
    number,
  };
  await tx.insertInto('api_tokens').values(row).execute();
  return { token: apiTokenOf(row), secret };
}

/** Who has a token for a day must not make one for ever of it. @throws StoreRefusal `outlives_maker` */
async function requireNoLongerLife(tx: Kysely<Schema>, by: By, expiresMs: number | undefined): Promise<void> {
  const [kind, id = ''] = actorOf(by).split(':', 2);
  if (kind !== 'token') return;
  const row = await tx.selectFrom('api_tokens').select('expires_ms').where('id', '=', id).executeTakeFirst();
  const { expires_ms: end } = found(row, 'token');
  if (end === null || (expiresMs !== undefined && BigInt(expiresMs) <= end)) return;
  throw new StoreRefusal('outlives_maker', 'the token would outlive the one that makes it');
}

async function listTokens(access: Access, organizationId: bigint, query: PageRequest): Promise<Page<ApiToken>> {
  const paging = new Paging(query, 'tokens', organizationId);
  const rows = await access.read((db) =>
    db
      .selectFrom('api_tokens')
      .selectAll()
      .where('organization_id', '=', organizationId)
      .where('number', '>', paging.after ?? 0n)
      .orderBy('number')
      .limit(paging.limit)
      .execute(),
  );
  return paging.page(rows, ({ number }) => number, apiTokenOf);
}

function revokeToken(access: Access, by: By, organizationId: bigint, id: string): Promise<ApiToken> {
  return access.mutate(by, async (mutation) => {
    const { tx } = mutation;
    const row = found(await tokenRow(tx, organizationId, id), 'token');
    if (row.state === 'disabled') return apiTokenOf(row);
    await mutation.record({ action: 'token.revoke', target: targetOf(organizationId, id), organizationId });
    await tx.updateTable('api_tokens').set({ state: 'disabled' }).where('id', '=', id).execute();
    return apiTokenOf({ ...row, state: 'disabled' });
  });
}

async function authenticate(access: Access, secret: string): Promise<ApiToken | undefined> {
  const nowMs = BigInt(Date.now());
  const row = await access.read((db) =>
    tokensInForce(db, nowMs)
      .selectAll('api_tokens')
      .where('api_tokens.secret_hash', '=', hashOfSecret(secret))
      .executeTakeFirst(),
  );
  if (row === undefined) return undefined;
  const todayMs = nowMs - (nowMs % DAY_MS);
  if (row.last_used_ms !== null && row.last_used_ms >= todayMs) return apiTokenOf(row);
  const note = { last_used_ms: todayMs };
  await access.noteUse((db) => db.updateTable('api_tokens').set(note).where('id', '=', row.id).execute());
  return apiTokenOf({ ...row, last_used_ms: todayMs });
}

async function tokenRow(db: Kysely<Schema>, organizationId: bigint, id: string) {
  if (!isUuid(id)) return undefined;
  return db
    .selectFrom('api_tokens')
    .selectAll()
    .where('id', '=', id)
    .where('organization_id', '=', organizationId)
    .executeTakeFirst();
}

function targetOf(organizationId: bigint, id: string): string {
  return `organizations/${organizationId}/tokens/${id}`;
}

function apiTokenOf(row: ApiTokenTable): ApiToken {
  return {
    id: row.id,
    organizationId: row.organization_id,
    name: row.name,
    scopes: stringsColumn.decode(row.scopes),
    state: row.state,
    expiresMs: row.expires_ms === null ? undefined : Number(row.expires_ms),
    createdMs: Number(row.created_ms),
    lastUsedMs: row.last_used_ms === null ? undefined : Number(row.last_used_ms),
  };
}
