import type { ProjectConfig } from '#gen/tideway/config/v1/config_service_pb.ts';
import type { DataCategory } from '#lib/ingest/data-category.ts';
import type { Outcome } from '#lib/ingest/outcome.ts';
import type { ActiveLimit } from '#lib/limits/limits.ts';
import { type Quota, quotasOf, refusedLimit } from '#lib/limits/quotas.ts';
import type { CachedLimits } from './cached-limits.ts';
import type { Item, Received, Sender } from './envelope.ts';
import { isOriginAllowed } from './pipeline-origins.ts';
import { belongsToEvent, categoryOf, isEvent, itemOutcomes } from './pipeline-outcomes.ts';

/** For whom nothing is taken of a project that there is. Undefined: it may send. */
export function refusalOf(config: ProjectConfig, { projectId, origin }: Sender): 'project_id' | 'origin' | undefined {
  if (projectId !== undefined && projectId !== config.projectId) return 'project_id';
  return isOriginAllowed(config.allowedDomains, origin) ? undefined : 'origin';
}

/** What is over a limit of an envelope, and what isn't. */
export interface LimitedEnvelope {
  readonly kept: readonly Item[];
  readonly limits: readonly ActiveLimit[];
  readonly outcomes: readonly Outcome[];
}

const NONE: readonly ActiveLimit[] = [];

/** Drops what is known to be over a limit. Undefined: nothing is, as nearly always. */
export function limit(
  { sender, envelope }: Received,
  config: ProjectConfig,
  cached: CachedLimits,
  nowMs: number,
): LimitedEnvelope | undefined {
  const { items, eventId } = envelope;
  const quotas = quotasOf(config, config.quotas);
  if (!quotas.canRefuse && !cached.isAny(nowMs)) return undefined;

  const refused = new Map<Quota, ActiveLimit>();
  const limitsOf = (category: DataCategory): readonly ActiveLimit[] => {
    const active = cached.check(config, category, nowMs);
    if (active.length > 0 || !quotas.canRefuse) return active;
    // Not remembered: they hold for as long as the config has them.
    return quotas.about(category).refusing.map((quota) => {
      const found = refused.get(quota) ?? refusedLimit(quota, nowMs);
      refused.set(quota, found);
      return found;
    });
  };
  const ofItem = (item: Item): readonly ActiveLimit[] => {
    const category = categoryOf(item);
    if (category === undefined) return NONE;
    const own = limitsOf(category);
    return category === 'attachment' && own.length === 0 ? limitsOf('attachment_item') : own;
  };
  const event = items.find(isEvent);
  const ofEvent = event === undefined ? NONE : ofItem(event);

  const kept: Item[] = [];
  const limits = new Set<ActiveLimit>();
  const outcomes: Outcome[] = [];
  for (const item of items) {
    const active = ofEvent.length > 0 && belongsToEvent(item) ? ofEvent : ofItem(item);
    if (active.length === 0) {
      kept.push(item);
      continue;
    }
    for (const each of active) limits.add(each);
    const reason = active[0]?.reasonCode;
    const verdict = { outcome: 'rate_limited', reason, owner: config, timestampMs: sender.receivedMs } as const;
    outcomes.push(...itemOutcomes(verdict, item, eventId));
  }
  return limits.size === 0 ? undefined : { kept, limits: [...limits], outcomes };
}

export function withItems({ sender, envelope, sizeBytes }: Received, items: readonly Item[]): Received {
  return { sender, envelope: { ...envelope, items }, sizeBytes };
}
