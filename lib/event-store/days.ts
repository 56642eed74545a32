export const DAY_MS = 86_400_000;
export const HOUR_MS = 3_600_000;

/** More than any setting says: a record that says more must not become a day that no database can keep. */
const MAX_RETENTION_DAYS = 3_650;

/** Days since 1970, in UTC. */
export function dayOf(ms: number): number {
  return Math.floor(ms / DAY_MS);
}

/**
 * The day with whose beginning something expires: all that goes on one day goes at once. So it is kept for its retention,
 * and for what was left of the day on which it came.
 */
export function expiresDayOf({ receivedMs, retentionDays }: { receivedMs: number; retentionDays: number }): number {
  return dayOf(receivedMs) + 1 + Math.min(Math.max(retentionDays, 0), MAX_RETENTION_DAYS);
}

/** What {@link expiresDayOf} was made of. */
export function retentionDaysOf(receivedMs: number, expiresDay: number): number {
  return expiresDay - 1 - dayOf(receivedMs);
}
