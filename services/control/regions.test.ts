import { Code } from '@connectrpc/connect';
import { expect, test } from 'vitest';
import { openControl } from './control-testing.ts';
import { announceRegion } from './region.ts';

const control = openControl();

test('regions are listed by name, in pages', async () => {
  const { store, operator } = control();
  for (const name of ['us', 'eu', 'asia-1']) await announceRegion(store, name, `https://${name}.example`);
  const first = await operator.listRegions({ pageSize: 2 });
  expect(first.regions).toMatchObject([{ name: 'asia-1', url: 'https://asia-1.example' }, { name: 'eu' }]);
  const second = await operator.listRegions({ pageSize: 2, pageToken: first.nextPageToken });
  expect(second).toMatchObject({ regions: [{ name: 'us' }], nextPageToken: '' });
  await expect(operator.listRegions({ pageToken: '%' })).rejects.toMatchObject({ code: Code.InvalidArgument });
});

test('a region that says nothing new changes nothing', async () => {
  const { store } = control();
  await announceRegion(store, 'eu', 'https://moved.example');
  const cursor = await store.changes.cursor();
  await announceRegion(store, 'eu', 'https://moved.example');
  await announceRegion(store, 'eu', undefined);
  expect(await store.changes.cursor()).toBe(cursor);
  expect(await store.regions.get('eu')).toEqual({ name: 'eu', url: 'https://moved.example' });
});
