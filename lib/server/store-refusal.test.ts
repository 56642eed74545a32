import { expect, test } from 'vitest';
import { StoreUnavailableError } from '#lib/sql/database-errors.ts';
import { StoreRefusal } from '#lib/store/store-errors.ts';
import { Refusal } from './refusal.ts';
import { convertStoreError } from './store-refusal.ts';

test.each([
  ['not_found', 404],
  ['slug_taken', 409],
  ['email_taken', 409],
  ['member_exists', 409],
  ['last_owner', 409],
  ['role_lost', 403],
  ['outlives_maker', 400],
  ['etag', 409],
  ['page_token', 400],
] as const)('the store’s %s is a %i', (reason, status) => {
  const refusal = convertStoreError(new StoreRefusal(reason, 'for our eyes only'));
  expect(refusal).toBeInstanceOf(Refusal);
  expect(refusal).toMatchObject({ status, message: expect.not.stringContaining('our eyes') });
});

test('a database that is away is worth waiting for', () => {
  expect(convertStoreError(new StoreUnavailableError('at 10.0.0.7'))).toMatchObject({
    reason: 'store_away',
    status: 503,
    retryAfterSec: 1,
    message: 'The database is away',
  });
});

test('anything else is what it was', () => {
  const error = new Error('a bug');
  expect(convertStoreError(error)).toBe(error);
});
