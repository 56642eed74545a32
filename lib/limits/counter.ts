import type { Quota } from './quotas.ts';

/** What a quota is counted by in the window that a time is in. */
export interface Counter {
  readonly key: string;
  /** What Sentry's services write, and is taken off. */
  readonly refundKey: string;
  readonly beginsMs: number;
  readonly endsMs: number;
}

const CLOCKS_APART_SEC = 60;
/** What is refused is asked for again after so long, however long the window is. */
export const DEFAULT_MAX_RATE_LIMIT_MS = 300_000;

const last = new WeakMap<Quota, Counter>();

/**
 * `quota:<id>{<organization>}<number of project or key, nothing for the organization>:<slot>`, as Sentry's counters are
 * called. Windows begin at different times for different organizations.
 */
export function counterOf(quota: Quota, nowMs: number): Counter {
  const found = last.get(quota);
  if (found !== undefined && found.beginsMs <= nowMs && nowMs < found.endsMs) return found;
  const { id, organizationId, scope, scopeId, windowSec } = quota;
  const shift = Number(organizationId % BigInt(windowSec));
  const slot = Math.floor((nowMs / 1000 - shift) / windowSec);
  const beginsSec = slot * windowSec + shift;
  const endsSec = beginsSec + windowSec;
  const key = `quota:${id}{${organizationId}}${scope === 'organization' ? '' : scopeId}:${slot}`;
  const counter = {
    key,
    refundKey: `r:${key}`,
    beginsMs: beginsSec * 1000,
    endsMs: endsSec * 1000,
  };
  last.set(quota, counter);
  return counter;
}

/**
 * When nobody asks for the counter any more, whose clock is at most {@link CLOCKS_APART_SEC} behind. From now on, and not a
 * time: Redis' own clock may be far from this one, and what has expired as it is written bounds nothing.
 */
export function expiresInSec({ endsMs }: Counter, nowMs: number): number {
  return Math.ceil((endsMs - nowMs) / 1000) + CLOCKS_APART_SEC;
}

/** Until when something is refused whose window ends then. */
export function refusedUntilMs({ endsMs }: Counter, nowMs: number, maxRateLimitMs: number): number {
  return Math.min(endsMs, nowMs + maxRateLimitMs);
}
