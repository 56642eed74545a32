import type { DataCategory } from '#lib/ingest/data-category.ts';
import type { ActiveLimit, LimitScope } from '#lib/limits/limits.ts';
import type { QuotaOwner } from '#lib/limits/quotas.ts';

/** Organizations, projects and keys. A full memory forgets the oldest: that costs a question to Redis. */
const MAX_LIMITED = 100_000;
/**
 * A clock that is set back further would make every limit longer by as much, for hours maybe. What is forgotten then costs
 * a question to Redis.
 */
const MAX_CORRECTION_MS = 1_000;

const NONE: readonly ActiveLimit[] = [];

/**
 * The limits that were last met, for all projects of this process: what they are about is refused without asking Redis. They
 * outlive the configs that they come from. Of two for the same scope and categories the longer one holds.
 */
export class CachedLimits {
  readonly #maxLimited: number;
  readonly #byScope: Readonly<Record<LimitScope, Map<bigint, readonly ActiveLimit[]>>> = {
    organization: new Map(),
    project: new Map(),
    key: new Map(),
  };
  #endMs = 0;
  #latestMs = 0;

  constructor(maxLimited = MAX_LIMITED) {
    this.#maxLimited = maxLimited;
  }

  get size(): number {
    const { organization, project, key } = this.#byScope;
    return organization.size + project.size + key.size;
  }

  /** Whether there is one at all. */
  isAny(nowMs: number): boolean {
    if (nowMs > this.#latestMs) this.#latestMs = nowMs;
    else if (nowMs < this.#latestMs - MAX_CORRECTION_MS) this.#forget(nowMs);
    return this.#endMs > nowMs;
  }

  add(limits: readonly ActiveLimit[], nowMs: number): void {
    this.isAny(nowMs);
    for (const limit of limits) {
      if (limit.untilMs <= nowMs) continue;
      const map = this.#byScope[limit.scope];
      const others = map.get(limit.scopeId) ?? NONE;
      const same = others.find((other) => isSame(other.categories, limit.categories));
      if (same !== undefined && same.untilMs >= limit.untilMs) continue;
      const kept = others.filter((other) => other !== same && other.untilMs > nowMs);
      map.set(limit.scopeId, [...kept, limit]);
      this.#endMs = Math.max(this.#endMs, limit.untilMs);
    }
    if (this.size > this.#maxLimited) this.#shrink(nowMs);
  }

  /** The limits that a category is under; none: an empty list. */
  check(
    { organizationId, projectId, keyId }: QuotaOwner,
    category: DataCategory,
    nowMs: number,
  ): readonly ActiveLimit[] {
    if (!this.isAny(nowMs)) return NONE;
    const { organization, project, key } = this.#byScope;
    let found = collect(key.get(keyId), category, nowMs, NONE);
    found = collect(project.get(projectId), category, nowMs, found);
    return collect(organization.get(organizationId), category, nowMs, found);
  }

  #forget(nowMs: number): void {
    for (const map of Object.values(this.#byScope)) map.clear();
    this.#endMs = 0;
    this.#latestMs = nowMs;
  }

  #shrink(nowMs: number): void {
    const maps = Object.values(this.#byScope);
    for (const map of maps) {
      for (const [id, limits] of map) if (limits.every(({ untilMs }) => untilMs <= nowMs)) map.delete(id);
    }
    // By a part of it at once, or a full memory would be searched with every limit.
    const [largest] = maps.sort((a, b) => b.size - a.size);
    let excess = this.size - 0.9 * this.#maxLimited;
    for (const id of largest?.keys() ?? []) {
      if (excess <= 0) return;
      largest?.delete(id);
      excess -= 1;
    }
  }
}

function collect(
  limits: readonly ActiveLimit[] | undefined,
  category: DataCategory,
  nowMs: number,
  found: readonly ActiveLimit[],
): readonly ActiveLimit[] {
  if (limits === undefined) return found;
  const active = limits.filter(
    ({ categories, untilMs }) => untilMs > nowMs && (categories.length === 0 || categories.includes(category)),
  );
  if (active.length === 0) return found;
  return found.length === 0 ? active : [...found, ...active];
}

function isSame(a: readonly DataCategory[], b: readonly DataCategory[]): boolean {
  return a === b || (a.length === b.length && a.every((category) => b.includes(category)));
}
