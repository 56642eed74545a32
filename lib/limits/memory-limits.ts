import { LRUCache } from 'lru-cache';
import { counterOf, DEFAULT_MAX_RATE_LIMIT_MS, refusedUntilMs } from './counter.ts';
import type { Limits, TakeRequest, TakeResult } from './limits.ts';
import { activeLimit, quotasOf, refusedLimits } from './quotas.ts';

export interface MemoryLimitsOptions {
  readonly maxRateLimitMs?: number;
  readonly now?: () => number;
  /** A full memory forgets the counter that was not asked for the longest time. */
  readonly maxCounters?: number;
}

const MAX_COUNTERS = 200_000;
const TAKEN: TakeResult = { isTaken: true };

/** For one process. Nobody writes refunds here. */
export function createMemoryLimits(options: MemoryLimitsOptions = {}): Limits {
  const { maxRateLimitMs = DEFAULT_MAX_RATE_LIMIT_MS, now = Date.now, maxCounters = MAX_COUNTERS } = options;
  const counts = new LRUCache<string, number>({ max: maxCounters });

  function take(request: TakeRequest, nowMs: number): TakeResult {
    const { quantity, overAcceptOnce } = request;
    const { refusing, counting } = quotasOf(request, request.quotas).about(request.category);
    if (refusing.length > 0) return { isTaken: false, limits: refusedLimits(refusing, nowMs) };
    if (counting.length === 0) return TAKEN;
    const limits = [];
    for (const quota of counting) {
      const { limit = Number.POSITIVE_INFINITY } = quota;
      const counter = counterOf(quota, nowMs);
      const consumed = counts.get(counter.key) ?? 0;
      const isOver = quantity === 0 || overAcceptOnce ? consumed >= limit : consumed + quantity > limit;
      if (isOver) limits.push(activeLimit(quota, refusedUntilMs(counter, nowMs, maxRateLimitMs)));
    }
    if (limits.length > 0) return { isTaken: false, limits };
    if (quantity === 0) return TAKEN;
    for (const quota of counting) {
      const { key } = counterOf(quota, nowMs);
      counts.set(key, (counts.get(key) ?? 0) + quantity);
    }
    return TAKEN;
  }

  return {
    kind: 'memory',
    take: async (requests) => {
      const nowMs = now();
      return requests.map((request) => take(request, nowMs));
    },
    state: () => 'counting',
    close: async () => counts.clear(),
  };
}
