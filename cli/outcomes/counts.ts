import type { DataCategory } from '#lib/ingest/data-category.ts';
import type { Outcome, OutcomeName } from '#lib/ingest/outcome.ts';
import { PUT_ASIDE } from '#lib/ingest/put-aside.ts';

export const HOUR_MS = 3_600_000;

/** What became of something, as far as the audit tells apart. */
export type Kind = OutcomeName | 'duplicate' | 'put_aside';

export interface Counted extends Pick<Outcome, 'timestampMs' | 'outcome' | 'organizationId' | 'projectId'> {
  readonly reason: string | undefined;
  readonly category: DataCategory;
  readonly quantity: number | bigint;
}

/** Whose, and of what. */
export interface Subject {
  readonly organizationId: bigint;
  readonly projectId: bigint;
  readonly category: DataCategory;
}

/** Quantities by whose they are, what of, what became of it, and when. */
export class Counts {
  readonly #sums = new Map<string, { subject: Subject; kind: Kind; hourMs: number; quantity: bigint }>();

  add({ organizationId = 0n, projectId = 0n, category, outcome, reason, timestampMs, quantity }: Counted): void {
    const kind = kindOf(outcome, reason);
    const hourMs = Math.floor(timestampMs / HOUR_MS) * HOUR_MS;
    const key = `${organizationId}/${projectId}/${category}/${kind}/${hourMs}`;
    const sum = this.#sums.get(key);
    if (sum !== undefined) sum.quantity += BigInt(quantity);
    else {
      const subject = { organizationId, projectId, category };
      this.#sums.set(key, { subject, kind, hourMs, quantity: BigInt(quantity) });
    }
  }

  /** Of all hours from one on, by subject in a fixed order. */
  bySubject(fromMs: number): Map<string, { readonly subject: Subject; readonly kinds: Map<Kind, bigint> }> {
    const found = new Map<string, { subject: Subject; kinds: Map<Kind, bigint> }>();
    for (const { subject, kind, hourMs, quantity } of this.#sums.values()) {
      if (hourMs < fromMs) continue;
      const key = `${subject.organizationId}/${subject.projectId}/${subject.category}`;
      const entry = found.get(key) ?? { subject, kinds: new Map() };
      found.set(key, entry);
      entry.kinds.set(kind, (entry.kinds.get(kind) ?? 0n) + quantity);
    }
    return found;
  }
}

function kindOf(outcome: OutcomeName, reason: string | undefined): Kind {
  if (outcome !== 'invalid') return outcome;
  if (reason === 'duplicate') return 'duplicate';
  return reason === PUT_ASIDE.reason ? 'put_aside' : 'invalid';
}

/**
 * These are told apart by whoever saves, not by the log: of an event that was logged twice in two categories, either is the
 * duplicate. So their sum is what is compared.
 */
export const TAKEN: readonly Kind[] = ['accepted', 'duplicate', 'put_aside'];
