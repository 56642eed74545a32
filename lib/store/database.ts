import type { Kysely } from 'kysely';
import type { DatabaseKind } from '#lib/sql/database-kind.ts';
import type { Home } from './history.ts';
import type { Schema } from './schema.ts';

/**
 * An open database whose schema is this version's. Both kinds throw StoreUnavailableError for what passes by itself or by
 * an operator's hand (away, full, busy, too slow); what else they throw is a bug.
 */
export interface Database {
  readonly kind: DatabaseKind;
  /** Looked at with every mutation. */
  readonly home: Home;
  /** For single queries, each of which sees what was committed when it began. */
  readonly reader: Kysely<Schema>;
  /**
   * For transactions. On SQLite there is one at a time in this process and, by the lock that it begins with, in all of
   * them; so a transaction awaits its own queries and nothing else.
   */
  readonly writer: Kysely<Schema>;
  /** Calls `listener` when another process may have committed. A hint: none may come. Returns what ends it. */
  listen(listener: () => void): () => void;
  /** When nothing is asked of it any more. */
  close(): Promise<void>;
}
