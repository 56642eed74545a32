import type { DataCategory } from '#lib/ingest/data-category.ts';
import type { ProcessedEvent, RefusedItem } from '../processing.ts';
import type { Belonging, Verdict } from './work.ts';

/** So many reasons an envelope has at most: they are counted, each by itself, for ever. */
const MAX_REFUSALS = 200;

/** Collects what becomes of an envelope. Equal refusals are one, with the sum: an envelope may say the same very often. */
export class VerdictBuilder implements Verdict {
  readonly events: ProcessedEvent[] = [];
  readonly attachments: Belonging[] = [];
  readonly userReports: Belonging[] = [];
  readonly refused: RefusedItem[] = [];
  readonly faults: string[] = [];
  readonly #indexes = new Map<string, number>();

  refuse(
    outcome: RefusedItem['outcome'],
    reason: string,
    category: DataCategory,
    eventId: string | undefined,
    quantity = 1,
  ): void {
    const key = `${outcome}\n${category}\n${eventId}\n${reason}`;
    const index = this.#indexes.get(key);
    if (index !== undefined) {
      const known = this.refused[index]!;
      this.refused[index] = { ...known, quantity: known.quantity + quantity };
    } else if (this.refused.length < MAX_REFUSALS) {
      this.#indexes.set(key, this.refused.push({ outcome, reason, category, quantity, eventId }) - 1);
    }
  }

  /** Of a surprise: where it came from, without what it says, which may be of the event. */
  fault(error: unknown): void {
    const stack = error instanceof Error ? (error.stack ?? '') : '';
    const places = stack.split('\n').filter((line) => /^\s+at /.test(line));
    this.faults.push([error instanceof Error ? error.name : typeof error, ...places.slice(0, 5)].join('\n'));
  }
}
