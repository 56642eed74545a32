import { StoreRefusal } from './store-errors.ts';

/** What of `patch` differs from the row, or undefined if nothing does. Names of columns are those of the contract's fields. */
export function rowChanges<Row extends object>(
  row: Row,
  patch: { readonly [K in keyof Row]?: Row[K] | undefined },
): { readonly values: Partial<Row>; readonly fields: string[] } | undefined {
  const values: Partial<Row> = {};
  const fields: string[] = [];
  for (const name of Object.keys(patch) as (keyof Row & string)[]) {
    const value = patch[name];
    if (value === undefined || value === row[name]) continue;
    Object.assign(values, { [name]: value });
    fields.push(name);
  }
  return fields.length === 0 ? undefined : { values, fields };
}

export function etagOf(version: bigint): string {
  return `v${version}`;
}

/** @throws StoreRefusal `etag` */
export function requireEtag(version: bigint, etag: string | undefined): void {
  if (etag === undefined || etag === '' || etag === etagOf(version)) return;
  throw new StoreRefusal('etag', 'somebody else has changed it since');
}

/** @throws StoreRefusal `not_found` */
export function found<T>(row: T | undefined, what: string): T {
  if (row === undefined) throw new StoreRefusal('not_found', `${what} not found`);
  return row;
}
