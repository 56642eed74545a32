import { createHash } from 'node:crypto';
import type { ChannelKey } from './broker.ts';

/**
 * What is decided about a channel or a token, beside the channel's log: that a listener cancelled it, that tokens are
 * revoked, that a token was followed by a new one. Few are made, and every process may have to do with one. In memory and
 * on Redis they give the same guarantees and run the same suite (decisions-contract.ts):
 *
 * 1. *Remembered.* Once {@link Decisions.make} has answered, `find` has it, in every process, for `ttlMs`.
 * 2. *Told.* Once `make` has answered, every watcher is told, in every process: at once in the same one, else within
 *    {@link TOLD_WITHIN_MS} while the broker answers, and as soon as it answers again. At least once.
 * 3. *Never silently missed.* Where a watcher's process can't know that it has heard everything (it began to follow, it
 *    was cut off for longer than the record of decisions reaches, the broker lost data) it is told to look: `onDoubt`.
 * 4. *Idempotent.* A `make` that failed may have happened; repeating it is safe, and what was answered once is not told
 *    again for its repetition. Of several for one subject the first counts for `cancelled`, the latest for the others.
 * 5. *Counted.* {@link Decisions.count} is exact, over all processes.
 *
 * So whoever first watches and then finds misses nothing: what is decided after the find is told.
 */
export interface Decisions {
  /**
   * @returns what counts for the subject now.
   * @throws BrokerUnavailableError
   */
  make(decision: NewDecision, ttlMs: number): Promise<Decision>;

  /**
   * Counts one more for the token, of at most `limit` within `ttlMs` of the first.
   * @returns undefined; or, if that many were counted already, in how many ms it begins anew.
   * @throws BrokerUnavailableError
   */
  count(token: TokenKey, limit: number, ttlMs: number): Promise<number | undefined>;

  /**
   * What counts for each of the subjects; of up to some thousands in as few round trips as the deployment has shards.
   * @throws BrokerUnavailableError unless every one was answered.
   */
  find(subjects: readonly Subject[]): Promise<(Decision | undefined)[]>;

  /** Neither may throw. The returned function ends it. */
  watch(watcher: DecisionWatcher): () => void;
}

export interface DecisionWatcher {
  onDecision(decision: Decision): void;
  /** Something may have been missed: `find` again what matters. */
  onDoubt(): void;
}

export type DecisionKind = keyof typeof DECISION_KINDS;

/** Which of several decisions about one subject counts. */
export const DECISION_KINDS = {
  /** `detail`: the reason. */
  cancelled: 'first',
  /** Tokens issued for a channel until `atMs`. No `detail`. */
  channel_revoked: 'latest',
  /** One token. No `detail`. */
  token_revoked: 'latest',
  /** A token's open streams have another one. `detail`: which, as its use case writes it. */
  token_renewed: 'latest',
} as const satisfies Record<string, 'first' | 'latest'>;

export function keepsFirst(kind: DecisionKind): boolean {
  return DECISION_KINDS[kind] === 'first';
}

export interface Subject {
  readonly kind: DecisionKind;
  readonly about: ChannelKey | TokenKey;
}

export interface Decision extends Subject {
  /** When, in ms since the epoch. */
  readonly atMs: number;
  /** At most {@link MAX_DETAIL_LENGTH} characters. */
  readonly detail: string;
}

export interface NewDecision extends Subject {
  /**
   * Undefined: now, and after every one about the same subject. By the later of the two clocks, of this process and of the
   * broker: one that is behind must not let through what is revoked.
   */
  readonly atMs?: number;
  readonly detail: string;
}

/** A token of an organization. Made by {@link tokenKey} alone. */
export type TokenKey = string & { readonly __tokenKey: unique symbol };

/** Ids of tokens come from outside, in any form and length: the key has one form, and tells nobody the id. */
export function tokenKey(orgId: bigint, tokenId: string): TokenKey {
  return `${orgId}/${createHash('sha256').update(tokenId).digest('base64url')}` as TokenKey;
}

export function subjectKey({ kind, about }: Subject): string {
  return `${kind} ${about}`;
}

/** The channels of a token of the greatest size. */
export const MAX_DETAIL_LENGTH = 10_000;

export const TOLD_WITHIN_MS = 1000;

/** For how long a cancellation is remembered: as a seal is after its log. */
export const CANCELLED_FOR_MS = 24 * 60 * 60 * 1000;
