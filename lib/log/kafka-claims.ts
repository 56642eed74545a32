import { UNKNOWN_EPOCH } from './kafka-reader.ts';
import type { KeptPosition } from './log.ts';

/** A partition that this member has. */
export interface Claim {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly position: bigint;
  /** Of the leader that took the record before the position, and every one since that position. */
  readonly epoch: number;
  readonly epochSince: bigint;
  /** Whoever keeps positions was asked for theirs. */
  readonly isPlaced: boolean;
  failures: number;
  pausedUntilMs: number;
}

/** Where what was read before parts from what is there now. */
export interface Parting {
  /** Here ends what the leader has of the epoch. */
  readonly offset: bigint;
  readonly epoch: number;
}

type Changeable<T> = { -readonly [Name in keyof T]: T[Name] };

/** What a member has, how far it is, and of which leader that is: by which is seen whether the log still has it. */
export class Claims {
  readonly #claims = new Map<string, Changeable<Claim>>();

  all(): IterableIterator<Claim> {
    return this.#claims.values();
  }

  find(topic: string, partition: number): Claim | undefined {
    return this.#claims.get(keyOf(topic, partition));
  }

  /** Pauses go on, and where an epoch began does not change. */
  replace(places: readonly (Pick<Claim, 'topic' | 'topicId' | 'partition'> & KeptPosition)[]): void {
    const claims = places.map(({ topic, topicId, partition, offset: position, epoch = UNKNOWN_EPOCH }): Claim => {
      const before = this.find(topic, partition);
      const { failures = 0, pausedUntilMs = 0 } = before ?? {};
      const epochSince = before?.topicId === topicId ? sinceOf(before, position, epoch) : position;
      return { topic, topicId, partition, position, epoch, epochSince, isPlaced: false, failures, pausedUntilMs };
    });
    this.#claims.clear();
    for (const claim of claims) this.#claims.set(keyOf(claim.topic, claim.partition), claim);
  }

  /** Whoever keeps positions may be ahead of the group: as when a commit was lost with the broker. */
  place({ topic, partition }: Claim, kept: KeptPosition | undefined): void {
    const claim = this.#claims.get(keyOf(topic, partition));
    if (claim === undefined) return;
    claim.isPlaced = true;
    if (kept === undefined || kept.offset < claim.position) return;
    const isAhead = kept.offset > claim.position;
    const epoch = kept.epoch ?? (isAhead ? UNKNOWN_EPOCH : claim.epoch);
    claim.epochSince = sinceOf(claim, kept.offset, epoch);
    claim.position = kept.offset;
    claim.epoch = epoch;
  }

  move({ topic, partition }: Claim, position: bigint, epoch: number): void {
    const claim = this.#claims.get(keyOf(topic, partition));
    if (claim === undefined) return;
    // A batch is of one epoch: where it changes, the new one began at the old position.
    if (position < claim.position) claim.epochSince = position;
    else if (epoch !== claim.epoch) claim.epochSince = claim.position;
    claim.epoch = epoch;
    claim.position = position;
  }
}

/**
 * What a claim has that the leader has not. It may have more of an older epoch than the one before it, which this claim has
 * never read.
 */
export function lostFrom({ epoch, epochSince }: Claim, parting: Parting): bigint {
  return parting.epoch < epoch && parting.offset > epochSince ? epochSince : parting.offset;
}

function sinceOf(before: Claim, position: bigint, epoch: number): bigint {
  return before.epoch === epoch && before.epochSince < position ? before.epochSince : position;
}

function keyOf(topic: string, partition: number): string {
  return `${topic}/${partition}`;
}
