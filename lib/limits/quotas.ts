import { type ScopedQuota, ScopedQuota_Scope } from '#gen/tideway/config/v1/config_service_pb.ts';
import { categoryNamed, type DataCategory } from '#lib/ingest/data-category.ts';
import type { ActiveLimit, LimitScope, TakeRequest } from './limits.ts';

/** A quota that can be counted, and is about whoever sends. */
export interface Quota {
  readonly id: string;
  readonly organizationId: bigint;
  readonly scope: LimitScope;
  readonly scopeId: bigint;
  /** Empty: all. */
  readonly categories: readonly DataCategory[];
  /** Undefined: it only counts. */
  readonly limit: number | undefined;
  readonly windowSec: number;
  readonly reasonCode: string | undefined;
}

/** The quotas that are about a category. */
export interface CategoryQuotas {
  /** Of limit 0: what they are about is refused without counting. */
  readonly refusing: readonly Quota[];
  readonly counting: readonly Quota[];
}

/** Whose something is. */
export type QuotaOwner = Pick<TakeRequest, 'organizationId' | 'projectId' | 'keyId'>;

/** How long what a quota of limit 0 refuses need not be sent: it has no window. */
const REFUSED_FOR_MS = 60_000;

/** Where a quota with a limit names no category. One number can't bound these and bytes. */
const EVENT_CATEGORIES: readonly DataCategory[] = ['default', 'error', 'transaction', 'security', 'feedback'];

const SCOPES: Partial<Record<ScopedQuota_Scope, LimitScope>> = {
  [ScopedQuota_Scope.ORGANIZATION]: 'organization',
  [ScopedQuota_Scope.PROJECT]: 'project',
  [ScopedQuota_Scope.KEY]: 'key',
};

// By the list of a config, which lives as long as the config is used.
const known = new WeakMap<readonly ScopedQuota[], QuotaSet>();

/** What a config's quotas mean for whoever it is about. */
export function quotasOf(owner: QuotaOwner, quotas: readonly ScopedQuota[]): QuotaSet {
  if (quotas.length === 0) return NONE;
  const found = known.get(quotas);
  if (found?.isOf(owner)) return found;
  const set = new QuotaSet(owner, quotas);
  known.set(quotas, set);
  return set;
}

export class QuotaSet {
  readonly #owner: QuotaOwner;
  readonly #quotas: readonly Quota[];
  readonly #byCategory = new Map<DataCategory, CategoryQuotas>();
  /** Whether one of them has limit 0. */
  readonly canRefuse: boolean;

  constructor({ organizationId, projectId, keyId }: QuotaOwner, quotas: readonly ScopedQuota[]) {
    this.#owner = { organizationId, projectId, keyId };
    this.#quotas = quotas.flatMap((quota) => read(this.#owner, quota) ?? []);
    this.canRefuse = this.#quotas.some(({ limit }) => limit === 0);
  }

  isOf({ organizationId, projectId, keyId }: QuotaOwner): boolean {
    const own = this.#owner;
    return own.keyId === keyId && own.projectId === projectId && own.organizationId === organizationId;
  }

  about(category: DataCategory): CategoryQuotas {
    const found = this.#byCategory.get(category);
    if (found !== undefined) return found;
    const about = this.#quotas.filter(({ categories }) => categories.length === 0 || categories.includes(category));
    const result = {
      refusing: about.filter(({ limit }) => limit === 0),
      counting: about.filter(({ limit }) => limit !== 0),
    };
    this.#byCategory.set(category, result);
    return result;
  }
}

// Of most projects: whoever they are, they share it.
const NONE = new QuotaSet({ organizationId: 0n, projectId: 0n, keyId: 0n }, []);

export function activeLimit({ scope, scopeId, categories, reasonCode }: Quota, untilMs: number): ActiveLimit {
  return { scope, scopeId, categories, reasonCode, untilMs };
}

/** Of a quota of limit 0. */
export function refusedLimit(quota: Quota, nowMs: number): ActiveLimit {
  return activeLimit(quota, nowMs + REFUSED_FOR_MS);
}

/** Of quotas of limit 0. */
export function refusedLimits(refusing: readonly Quota[], nowMs: number): ActiveLimit[] {
  return refusing.map((quota) => refusedLimit(quota, nowMs));
}

/** Undefined: it is about somebody else, or nothing that could be counted. */
function read(owner: QuotaOwner, { scope: scopeNumber, scopeId, quota }: ScopedQuota): Quota | undefined {
  const scope = SCOPES[scopeNumber];
  if (quota === undefined || scope === undefined || scopeId !== idOf(owner, scope)) return undefined;
  const { id, windowSec } = quota;
  const limit = quota.limit === undefined ? undefined : Number(quota.limit);
  const named = [...new Set(quota.categories.flatMap((name) => categoryNamed(name) ?? []))];
  if (quota.categories.length > 0 && named.length === 0) return undefined;
  if (new Set(named.map(unitOf)).size > 1) return undefined;
  if (limit !== 0 && (id === '' || windowSec === 0)) return undefined;
  const categories = limit !== 0 && named.length === 0 ? EVENT_CATEGORIES : named;
  const reasonCode = quota.reasonCode === '' ? undefined : quota.reasonCode;
  return { id, organizationId: owner.organizationId, scope, scopeId, categories, limit, windowSec, reasonCode };
}

function idOf(owner: QuotaOwner, scope: LimitScope): bigint {
  switch (scope) {
    case 'organization':
      return owner.organizationId;
    case 'project':
      return owner.projectId;
    case 'key':
      return owner.keyId;
  }
}

function unitOf(category: DataCategory): 'bytes' | 'count' {
  return category === 'attachment' ? 'bytes' : 'count';
}
