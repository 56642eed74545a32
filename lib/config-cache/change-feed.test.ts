import { expect, test } from 'vitest';
import { ChangeFeed, MAX_KEYS_AT_ONCE, MAX_WAITING_KEYS } from './change-feed.ts';
import type { ChangeStep } from './change-follower.ts';
import { openStoreUnderTest } from './config-testing.ts';

const keys = (count: number, from = 0) => Array.from({ length: count }, (_, n) => `key-${from + n}`);

const step = (n: number, publicKeys: readonly string[]): ChangeStep => ({
  kind: 'changes',
  publicKeys,
  from: `cursor-${n}`,
  to: `cursor-${n + 1}`,
});

async function openFeed() {
  const { store } = await openStoreUnderTest();
  const feed = new ChangeFeed(store.changes);
  feed.add({ kind: 'changes', publicKeys: [], from: 'cursor-0', to: 'cursor-0' });
  return feed;
}

const open = new AbortController().signal;

test('a watcher that reads slowly is told once what changed often', async () => {
  const feed = await openFeed();
  const watch = feed.watch('', open);
  expect(await watch.next(0)).toEqual({ cursor: 'cursor-0', publicKeys: [], reset: false });
  for (let n = 0; n < 100; n += 1) feed.add(step(n, ['a', 'b']));
  expect(await watch.next(0)).toEqual({ cursor: 'cursor-100', publicKeys: ['a', 'b'], reset: false });
  expect(await watch.next(0)).toEqual({ cursor: 'cursor-100', publicKeys: [], reset: false });
});

test('with more than it may keep waiting, it is told to forget everything, and goes on from there', async () => {
  const feed = await openFeed();
  const watch = feed.watch('', open);
  await watch.next(0);
  feed.add(step(0, keys(MAX_WAITING_KEYS)));
  feed.add(step(1, keys(1, MAX_WAITING_KEYS)));
  feed.add(step(2, keys(5)));
  expect(await watch.next(0)).toEqual({ cursor: 'cursor-3', publicKeys: [], reset: true });
  feed.add(step(3, ['a']));
  expect(await watch.next(0)).toEqual({ cursor: 'cursor-4', publicKeys: ['a'], reset: false });
});

test('many keys come in pieces; the cursor moves with the last', async () => {
  const feed = await openFeed();
  const watch = feed.watch('', open);
  await watch.next(0);
  feed.add(step(0, keys(MAX_KEYS_AT_ONCE + 1)));
  expect(await watch.next(0)).toMatchObject({ cursor: 'cursor-0', publicKeys: keys(MAX_KEYS_AT_ONCE) });
  expect(await watch.next(0)).toMatchObject({ cursor: 'cursor-1', publicKeys: keys(1, MAX_KEYS_AT_ONCE) });
});

test('whoever comes back soon hears what it missed, without the store', async () => {
  const { store } = await openStoreUnderTest();
  let questions = 0;
  const feed = new ChangeFeed({
    ...store.changes,
    since: (cursor) => {
      questions += 1;
      return store.changes.since(cursor);
    },
  });
  feed.add({ kind: 'changes', publicKeys: [], from: 'cursor-0', to: 'cursor-0' });
  for (let n = 0; n < 10; n += 1) feed.add(step(n, [`key-${n}`]));
  const watch = feed.watch('cursor-7', open);
  expect(await watch.next(0)).toEqual({ cursor: 'cursor-10', publicKeys: ['key-7', 'key-8', 'key-9'], reset: false });
  expect(questions).toBe(0);
  expect(await feed.watch('forgotten', open).next(0)).toMatchObject({ reset: true });
  expect(questions).toBe(1);
});

test('it ends with its signal', async () => {
  const feed = await openFeed();
  const gone = new AbortController();
  const watch = feed.watch('', gone.signal);
  await watch.next(0);
  const next = watch.next(60_000);
  gone.abort();
  expect(await next).toBeUndefined();
  expect(await feed.watch('', gone.signal).next(0)).toBeUndefined();
});
