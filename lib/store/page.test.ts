import { describe, expect, test } from 'vitest';
import { Paging } from './page.ts';
import { MAX_PAGE_SIZE } from './store.ts';
import { StoreRefusal } from './store-errors.ts';

const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => BigInt(from + index));
const same = <T>(item: T) => item;

describe('paging', () => {
  test('reads one more than a page has, within bounds', () => {
    const limitOf = (pageSize?: number) => new Paging({ pageSize }, 'x').limit - 1;
    expect([undefined, 0, -1, 1, 7, MAX_PAGE_SIZE, 1e9].map(limitOf)).toEqual([50, 50, 50, 1, 7, 1000, 1000]);
  });

  test('has a next page only where there is more', () => {
    const paging = new Paging({ pageSize: 2 }, 'x');
    expect(paging.page(numbers(1, 2), same, String)).toEqual({ items: ['1', '2'], nextPageToken: '' });
    const { items, nextPageToken: pageToken } = paging.page(numbers(1, 3), same, String);
    expect(items).toEqual(['1', '2']);
    expect(new Paging({ pageToken }, 'x').after).toBe(2n);
  });

  test('reads in pieces what may be large, and no more than a page', async () => {
    const asked: [bigint | undefined, number][] = [];
    const rows = numbers(1, 130).map((id) => ({ id, text: id === 127n ? 'x'.repeat(2_000_000) : 'x' }));
    const piece = async (after: bigint | undefined, limit: number) => {
      asked.push([after, limit]);
      return rows.filter(({ id }) => id > (after ?? 0n)).slice(0, limit);
    };
    const read = async (pageSize: number, pageToken = '') => {
      const page = await new Paging({ pageSize, pageToken }, 'x').read(
        piece,
        ({ id }) => id,
        ({ id }) => Number(id),
      );
      return { ...page, asked: asked.splice(0) };
    };
    expect(await read(50)).toMatchObject({
      items: { length: 50, 49: 50 },
      asked: [
        [undefined, 50],
        [50n, 1],
      ],
    });
    const first = await read(1_000);
    expect(first.items).toHaveLength(126);
    // However large, it is a page.
    const second = await read(1_000, first.nextPageToken);
    expect(second.items).toEqual([127]);
    expect(await read(1_000, second.nextPageToken)).toMatchObject({ items: [128, 129, 130], nextPageToken: '' });
    expect(await read(3, second.nextPageToken)).toMatchObject({ items: [128, 129, 130], nextPageToken: '' });
    expect((await read(2, second.nextPageToken)).nextPageToken).not.toBe('');
  });

  test('takes a token of the same query only', () => {
    const { nextPageToken: pageToken } = new Paging({ pageSize: 1 }, 'x', 1n).page(numbers(1, 2), same, String);
    for (const query of [['x', 2n], ['x'], ['x', 1n, undefined], ['y', 1n]]) {
      expect(() => new Paging({ pageToken }, ...query)).toThrow(StoreRefusal);
    }
    for (const other of ['x', '=', pageToken.slice(1), `${pageToken}AA`, 'a'.repeat(100_000)]) {
      expect(() => new Paging({ pageToken: other }, 'x', 1n)).toThrow(StoreRefusal);
    }
  });
});
