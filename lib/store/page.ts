import { createHash } from 'node:crypto';
import { MAX_NUMBER } from './identifiers.ts';
import { DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, type Page, type PageRequest } from './store.ts';
import { StoreRefusal } from './store-errors.ts';

const TOKEN = /^([0-9]{1,19})-([A-Za-z0-9_-]{16})$/;

/** Of the texts of a page's rows. In bytes that is three times as much at most, and gRPC's clients take 4 MiB. */
const MAX_PAGE_CHARS = 1_048_576;
/** What is read before it is looked how large it is. */
const PIECE_ROWS = 50;

/**
 * Pages by a number that rises in the order of the list. A page token is that of the last item, with a digest of the query:
 * it opens nothing, as the query's own conditions hold on every page.
 */
export class Paging {
  /** The last item of the page before. */
  readonly after: bigint | undefined;
  /** One more than a page has, to know whether there is a next one. */
  readonly limit: number;
  readonly #digest: string;

  /**
   * @param query What is listed and by which conditions: what a token is bound to.
   * @throws StoreRefusal `page_token`
   */
  constructor({ pageSize, pageToken }: PageRequest, ...query: readonly unknown[]) {
    const size = pageSize === undefined || pageSize <= 0 ? DEFAULT_PAGE_SIZE : Math.min(pageSize, MAX_PAGE_SIZE);
    this.limit = size + 1;
    this.#digest = createHash('sha256').update(query.map(String).join('\n')).digest('base64url').slice(0, 16);
    this.after = pageToken === undefined || pageToken === '' ? undefined : this.#numberOf(pageToken);
  }

  page<Row, T>(rows: readonly Row[], numberOf: (row: Row) => bigint, itemOf: (row: Row) => T): Page<T> {
    const shown = rows.slice(0, this.limit - 1);
    const last = shown.at(-1);
    const hasMore = rows.length === this.limit && last !== undefined;
    return { items: shown.map(itemOf), nextPageToken: hasMore ? this.#tokenOf(numberOf(last)) : '' };
  }

  /** For rows with settings: a page of large ones ends early, and is not even read to its end. */
  async read<Row extends object, T>(
    piece: (after: bigint | undefined, limit: number) => Promise<Row[]>,
    numberOf: (row: Row) => bigint,
    itemOf: (row: Row) => T,
  ): Promise<Page<T>> {
    const rows: Row[] = [];
    let last: Row | undefined;
    let chars = 0;
    for (;;) {
      const limit = Math.min(PIECE_ROWS, this.limit - rows.length);
      const found = await piece(last === undefined ? this.after : numberOf(last), limit);
      for (const row of found) {
        chars += charsOf(row);
        if (last !== undefined && chars > MAX_PAGE_CHARS) {
          return { items: rows.map(itemOf), nextPageToken: this.#tokenOf(numberOf(last)) };
        }
        rows.push(row);
        last = row;
      }
      if (found.length < limit || rows.length === this.limit) return this.page(rows, numberOf, itemOf);
    }
  }

  #tokenOf(number: bigint): string {
    return Buffer.from(`${number}-${this.#digest}`).toString('base64url');
  }

  #numberOf(token: string): bigint {
    const [, number, digest] = TOKEN.exec(Buffer.from(token, 'base64url').toString()) ?? [];
    if (number === undefined || digest !== this.#digest || BigInt(number) > MAX_NUMBER) {
      throw new StoreRefusal('page_token', 'the page token is not one of this query');
    }
    return BigInt(number);
  }
}

function charsOf(row: object): number {
  let chars = 0;
  for (const value of Object.values(row)) if (typeof value === 'string') chars += value.length;
  return chars;
}
