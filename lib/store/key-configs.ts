import { isAnyOf } from '#lib/sql/any-of.ts';
import type { Access } from './access.ts';
import { isPublicKey } from './identifiers.ts';
import { revisionOf } from './projects.ts';
import type { KeyConfig } from './records.ts';
import { filtersColumn, quotasColumn, rateLimitColumn, scrubbingColumn, stringsColumn } from './settings-json.ts';
import { type KeyConfigs, MAX_LOOKUP_KEYS } from './store.ts';

export function createKeyConfigs(access: Access): KeyConfigs {
  return {
    get: async (publicKeys) => {
      if (publicKeys.length > MAX_LOOKUP_KEYS) throw new RangeError(`more than ${MAX_LOOKUP_KEYS} keys`);
      const possible = publicKeys.filter(isPublicKey);
      if (possible.length === 0) return new Map();
      const rows = await keyRows(access, possible);
      return new Map(rows.map((row) => [row.public_key, keyConfigOf(row)]));
    },
  };
}

function keyRows(access: Access, publicKeys: readonly string[]) {
  return access.read((db) =>
    db
      .selectFrom('project_keys as k')
      .innerJoin('projects as p', 'p.id', 'k.project_id')
      .innerJoin('organizations as o', 'o.id', 'p.organization_id')
      .select(['k.id as key_id', 'k.public_key', 'k.rate_limit', 'k.state as key_state'])
      .select(['p.id as project_id', 'p.slug', 'p.state as project_state', 'p.revision'])
      .select(['p.allowed_domains', 'p.filters', 'p.scrubbing', 'p.quotas', 'p.retention_days'])
      .select(['o.id as organization_id', 'o.slug as organization_slug', 'o.state as organization_state'])
      .select(['o.region', 'o.quotas as organization_quotas', 'o.version as organization_version'])
      .where(isAnyOf(access.database.kind, 'k.public_key', publicKeys))
      .execute(),
  );
}

function keyConfigOf(row: Awaited<ReturnType<typeof keyRows>>[number]): KeyConfig {
  return {
    publicKey: row.public_key,
    keyId: row.key_id,
    active: row.key_state === 'active' && row.project_state === 'active' && row.organization_state === 'active',
    revision: revisionOf(row.revision, row.organization_version),
    rateLimit: row.rate_limit === null ? undefined : rateLimitColumn.decode(row.rate_limit),
    project: {
      id: row.project_id,
      slug: row.slug,
      allowedDomains: stringsColumn.decode(row.allowed_domains),
      filters: filtersColumn.decode(row.filters),
      scrubbing: scrubbingColumn.decode(row.scrubbing),
      quotas: quotasColumn.decode(row.quotas),
      retentionDays: Number(row.retention_days),
    },
    organization: {
      id: row.organization_id,
      slug: row.organization_slug,
      region: row.region,
      quotas: quotasColumn.decode(row.organization_quotas),
    },
  };
}
