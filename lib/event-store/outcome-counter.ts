import type { Transaction } from 'kysely';
import type { DataCategory } from '#lib/ingest/data-category.ts';
import type { OutcomeName } from '#lib/ingest/outcome.ts';
import { MultiRowInsert } from '#lib/sql/multi-row-insert.ts';
import { HOUR_MS } from './days.ts';
import type { Owner } from './event-store.ts';
import type { EventSchema } from './schema.ts';
import { storableText } from './storable-text.ts';

/** What is counted. Undefined: not known, or none. */
export interface Counted {
  readonly timestampMs: number;
  readonly organizationId: bigint | undefined;
  readonly projectId: bigint | undefined;
  readonly keyId: bigint | undefined;
  readonly outcome: OutcomeName;
  readonly reason: string | undefined;
  readonly category: DataCategory;
  readonly quantity: number;
}

/** Reasons are in the key of the counts, and a client may have made one up. */
const MAX_REASON_CHARACTERS = 200;

const TOTAL_KEY = ['organization_id', 'project_id', 'key_id', 'outcome', 'reason', 'category'] as const;
const TOTAL_COLUMNS = [...TOTAL_KEY, 'quantity', 'times'] as const;
const addTotals = new MultiRowInsert<EventSchema, (typeof TOTAL_COLUMNS)[number]>(TOTAL_COLUMNS, (db, rows) =>
  db
    .insertInto('outcome_totals')
    .values(rows)
    .onConflict((conflict) =>
      conflict.columns([...TOTAL_KEY]).doUpdateSet((eb) => ({
        quantity: eb('outcome_totals.quantity', '+', eb.ref('excluded.quantity')),
        times: eb('outcome_totals.times', '+', eb.ref('excluded.times')),
      })),
    ),
);

const HOUR_COLUMNS = ['hour_ms', ...TOTAL_COLUMNS] as const;
const addHours = new MultiRowInsert<EventSchema, (typeof HOUR_COLUMNS)[number]>(HOUR_COLUMNS, (db, rows) =>
  db
    .insertInto('outcome_hours')
    .values(rows)
    .onConflict((conflict) =>
      conflict.columns(['hour_ms', ...TOTAL_KEY]).doUpdateSet((eb) => ({
        quantity: eb('outcome_hours.quantity', '+', eb.ref('excluded.quantity')),
        times: eb('outcome_hours.times', '+', eb.ref('excluded.times')),
      })),
    ),
);

interface Sum {
  readonly key: readonly [...ids: bigint[], outcome: string, reason: string, category: string];
  quantity: bigint;
  times: bigint;
}

/** Adds up what a batch counts: thousands of records are a few rows. */
export class OutcomeCounter {
  readonly #totals = new Map<string, Sum>();
  readonly #hours = new Map<string, Sum>();

  add({ timestampMs, organizationId, projectId, keyId, outcome, reason, category, quantity }: Counted): void {
    const whose = [organizationId ?? 0n, projectId ?? 0n, keyId ?? 0n] as const;
    const why = storableText((reason ?? '').slice(0, MAX_REASON_CHARACTERS));
    const hour = BigInt(Math.floor(timestampMs / HOUR_MS) * HOUR_MS);
    const text = `${whose[0]}/${whose[1]}/${whose[2]}/${outcome}/${category}/${why}`;
    const amount = BigInt(quantity);
    addTo(this.#totals, text, amount, () => [...whose, outcome, why, category]);
    addTo(this.#hours, `${hour}/${text}`, amount, () => [hour, ...whose, outcome, why, category]);
  }

  addFor(
    { receivedMs, organizationId, projectId, keyId }: Owner,
    result: { outcome: 'accepted' } | { outcome: 'invalid'; reason: string },
    category: DataCategory,
    quantity: number,
  ): void {
    const reason = result.outcome === 'invalid' ? result.reason : undefined;
    const { outcome } = result;
    this.add({ timestampMs: receivedMs, organizationId, projectId, keyId, outcome, reason, category, quantity });
  }

  /** Last in a transaction: everybody counts in the same rows, and waits for them until it ends. */
  async save(tx: Transaction<EventSchema>): Promise<void> {
    await addHours.run(tx, rowsOf(this.#hours));
    await addTotals.run(tx, rowsOf(this.#totals));
  }
}

function addTo(sums: Map<string, Sum>, text: string, quantity: bigint, key: () => Sum['key']): void {
  const sum = sums.get(text);
  if (sum === undefined) {
    sums.set(text, { key: key(), quantity, times: 1n });
    return;
  }
  sum.quantity += quantity;
  sum.times++;
}

/** In one order for all, so that no two transactions wait for each other. */
function rowsOf(sums: Map<string, Sum>): unknown[][] {
  return [...sums.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { key, quantity, times }]) => [...key, quantity, times]);
}
