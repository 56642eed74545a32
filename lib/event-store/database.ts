import type { Kysely } from 'kysely';
import type { DatabaseKind } from '#lib/sql/database-kind.ts';
import type { EventSchema } from './schema.ts';

/**
 * An open database whose schema is this version's. Both kinds throw StoreUnavailableError for what passes by itself or by
 * an operator's hand; what else they throw is a bug.
 */
export interface EventDatabase {
  readonly kind: DatabaseKind;
  readonly reader: Kysely<EventSchema>;
  /** For searches, which may take seconds: however many there are, the reader's connections stay free. */
  readonly searcher: Kysely<EventSchema>;
  /** Undefined: it was opened to be read. */
  readonly writer: Kysely<EventSchema> | undefined;
  readonly days: Days;
  /** When nothing is asked of it any more. */
  close(): Promise<void>;
}

/** What a database does about the days on which rows expire. */
export interface Days {
  /** Makes room for rows that expire on these days. To be called before the transaction that writes them. */
  prepare(days: ReadonlySet<number>): Promise<void>;
  /** Whether an error says that there was no room, after all: prepare it again. */
  isMissing(error: unknown): boolean;
  /** Drops days up to this one, where they are kept apart. @returns whether there may be more. */
  drop(lastDay: number): Promise<boolean>;
}
