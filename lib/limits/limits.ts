import type { ScopedQuota } from '#gen/tideway/config/v1/config_service_pb.ts';
import type { DataCategory } from '#lib/ingest/data-category.ts';

/**
 * Exact quotas: how much of a category an organization, a project and a key may send in a window. In memory, for one
 * process, and on Redis, for all; one suite for both:
 *
 * 1. *All or nothing.* A quantity is counted for all quotas that are about it, or, if one of them is exceeded, for none.
 * 2. *Exact.* However many processes count, never more than the limit is taken in a window, refunds apart.
 * 3. *Windows* are aligned and shifted by the organization's number, so that not all end at once.
 * 4. *Fail open.* Where Redis does not answer in time everything is taken: an outage of ours is nobody's lost event.
 *    {@link Limits.state} says so.
 *
 * Counters have the keys that Sentry's have (`quota:<id>{<organization>}…`), and refunds (`r:` before it) are honoured.
 */
export interface Limits {
  readonly kind: 'memory' | 'redis';

  /** Counts many things at once, in order, in one round trip. Never rejects (4). */
  take(requests: readonly TakeRequest[]): Promise<readonly TakeResult[]>;

  /** What health says of it. */
  state(): 'counting' | 'open';

  close(): Promise<void>;
}

export interface TakeRequest {
  readonly organizationId: bigint;
  readonly projectId: bigint;
  readonly keyId: bigint;
  readonly quotas: readonly ScopedQuota[];
  readonly category: DataCategory;
  /** 0 asks whether something would still be taken, and counts nothing. */
  readonly quantity: number;
  /** Takes a quantity that crosses the limit, once: of things whose size is not known before. */
  readonly overAcceptOnce: boolean;
}

export type TakeResult =
  | { readonly isTaken: true }
  /** The limits that refused it, for everybody who asks next. */
  | { readonly isTaken: false; readonly limits: readonly ActiveLimit[] };

export type LimitScope = 'organization' | 'project' | 'key';

/** Something is not taken until a time. */
export interface ActiveLimit {
  readonly scope: LimitScope;
  /** The number of the organization, project or key. */
  readonly scopeId: bigint;
  /** Empty: all. */
  readonly categories: readonly DataCategory[];
  readonly reasonCode: string | undefined;
  readonly untilMs: number;
}
