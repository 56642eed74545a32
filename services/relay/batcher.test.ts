import { expect, test } from 'vitest';
import { until } from '../../test/support/until.ts';
import { Batcher, type BatcherOptions } from './batcher.ts';

function open(options: Partial<BatcherOptions<number>> = {}) {
  const batches: (readonly number[])[] = [];
  const ends: (() => void)[] = [];
  const batcher = new Batcher<number>({
    ...{ maxItems: 3, maxBytes: 100, maxWaitMs: 20, maxConcurrent: 1 },
    run: (batch) => {
      batches.push(batch);
      return new Promise((resolve) => ends.push(resolve));
    },
    ...options,
  });
  return { batcher, batches, ends };
}

test('a full batch is run at once, another when its first has waited', async () => {
  const { batcher, batches } = open({ maxConcurrent: 5 });
  for (const n of [1, 2, 3, 4]) batcher.add(n, 1);
  expect(batches).toEqual([[1, 2, 3]]);
  await until('the wait is over', () => batches.length === 2);
  expect(batches[1]).toEqual([4]);
});

test('a batch has so many bytes, or one item', () => {
  const { batcher, batches } = open({ maxConcurrent: 5 });
  batcher.add(1, 60);
  batcher.add(2, 60);
  batcher.add(3, 500);
  batcher.add(4, 1);
  expect(batches).toEqual([[1], [2], [3]]);
});

test('while all are busy batches fill up, and run in their order', async () => {
  const { batcher, batches, ends } = open();
  batcher.add(1, 1);
  await until('the first runs', () => batches.length === 1);
  batcher.add(2, 1);
  await new Promise((resolve) => setTimeout(resolve, 40));
  for (const n of [3, 4, 5]) batcher.add(n, 1);
  expect(batches).toEqual([[1]]);
  ends[0]?.();
  await until('the second runs', () => batches.length === 2);
  ends[1]?.();
  await until('the third runs', () => batches.length === 3);
  expect(batches).toEqual([[1], [2, 3, 4], [5]]);
});

test('closed, it gives back what was not begun', async () => {
  const { batcher, batches } = open();
  for (let n = 1; n <= 8; n += 1) batcher.add(n, 1);
  expect(batches).toEqual([[1, 2, 3]]);
  expect(batcher.close()).toEqual([4, 5, 6, 7, 8]);
  expect(batcher.close()).toEqual([]);
});
