import { type RawBuilder, sql } from 'kysely';
import type { DatabaseKind } from './database-kind.ts';

/**
 * Whether a column is any of so many values, as one parameter: the query is the same text for any number of them, which
 * spares its being compiled, parsed and kept for each.
 */
export function isAnyOf(kind: DatabaseKind, column: string, values: readonly string[]): RawBuilder<boolean> {
  const ref = sql.ref(column);
  return kind === 'postgres'
    ? sql`${ref} = any(${values})`
    : sql`${ref} in (select value from json_each(${JSON.stringify(values)}))`;
}
