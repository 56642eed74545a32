import { type Kysely, sql, type Transaction } from 'kysely';
import type { DatabaseKind } from '#lib/sql/database-kind.ts';
import type { Database } from './database.ts';
import { lockHistory } from './history.ts';
import { actorOf } from './mandate.ts';
import type { Schema } from './schema.ts';
import { type Actor, type By, RETAINED_CHANGES } from './store.ts';

/** What a connection of PostgreSQL listens on to hear of other processes' mutations. */
export const NOTIFICATION_CHANNEL = 'tideway_changes';

/** What was done, for the audit log and for relays. */
export interface Deed {
  readonly action: string;
  readonly target: string;
  readonly organizationId?: bigint;
  /** The fields that changed, by the contract's names. */
  readonly fields?: readonly string[];
  /** Whose keys relays have to ask for again: all of the organization's, or a project's. */
  readonly relays?: 'organization' | { readonly projectId: bigint };
}

/**
 * A transaction that holds the one lock of all writers: nothing that it reads changes before it ends. It awaits its own
 * queries and nothing else.
 */
export class Mutation {
  readonly tx: Transaction<Schema>;
  readonly nowMs = BigInt(Date.now());
  #actor: Actor;
  readonly #kind: DatabaseKind;
  readonly #first: bigint;
  #number: bigint;

  private constructor(tx: Transaction<Schema>, kind: DatabaseKind, actor: Actor, number: bigint) {
    this.tx = tx;
    this.#kind = kind;
    this.#actor = actor;
    this.#first = number;
    this.#number = number;
  }

  static async begin(
    tx: Transaction<Schema>,
    { kind, home }: Pick<Database, 'kind' | 'home'>,
    by: By,
  ): Promise<Mutation> {
    return new Mutation(tx, kind, actorOf(by), await lockHistory(tx, kind, home));
  }

  get hasRecorded(): boolean {
    return this.#number > this.#first;
  }

  /** For who turns out to be somebody only by what the transaction reads. */
  actAs(actor: Actor): void {
    this.#actor = actor;
  }

  /** Logs the deed under the next number, and answers that. */
  async record({ action, target, organizationId, fields = [], relays }: Deed): Promise<bigint> {
    const { tx } = this;
    const number = ++this.#number;
    await tx.updateTable('store_state').set({ number }).where('id', '=', 1n).execute();
    const entry = { id: number, time_ms: this.nowMs, actor: this.#actor, action, target };
    await tx
      .insertInto('audit_log')
      .values({ ...entry, organization_id: organizationId ?? null, fields: JSON.stringify(fields) })
      .execute();
    if (relays !== undefined && organizationId !== undefined) {
      const project_id = relays === 'organization' ? null : relays.projectId;
      await tx.insertInto('changes').values({ number, organization_id: organizationId, project_id }).execute();
      await tx
        .deleteFrom('changes')
        .where('number', '<=', number - RETAINED_CHANGES)
        .execute();
      if (this.#kind === 'postgres') await sql`select pg_notify(${NOTIFICATION_CHANNEL}, '')`.execute(tx);
    }
    return number;
  }

  /** The number for a new row. Rows are never deleted from such tables, and nobody else inserts now. */
  async nextId(table: 'organizations' | 'projects' | 'project_keys'): Promise<bigint> {
    const rows: Kysely<Record<typeof table, { id: bigint }>> = this.tx as never;
    const last = await rows.selectFrom(table).select('id').orderBy('id', 'desc').limit(1).executeTakeFirst();
    return (last?.id ?? 0n) + 1n;
  }
}
