import { StoreUnavailableError } from '#lib/sql/database-errors.ts';
import { type RefusalReason as StoreReason, StoreRefusal } from '#lib/store/store-errors.ts';
import { invalidField, Refusal } from './refusal.ts';

/** What the store throws, as the table of refusals has it; anything else as it is. */
export function convertStoreError(error: unknown): unknown {
  if (error instanceof StoreUnavailableError) {
    return new Refusal('store_away', { retryAfterMs: error.retryAfterMs, cause: error });
  }
  return error instanceof StoreRefusal ? CONVERSIONS[error.reason](error) : error;
}

const CONVERSIONS: Readonly<Record<StoreReason, (cause: StoreRefusal) => Refusal>> = {
  // Exactly what a foreign one is answered with.
  not_found: (cause) => new Refusal('not_found', { cause }),
  slug_taken: (cause) => new Refusal('already_exists', { text: 'This slug is taken', cause }),
  email_taken: (cause) => new Refusal('already_exists', { text: 'This address is taken', cause }),
  member_exists: (cause) => new Refusal('already_exists', { text: 'This user is a member already', cause }),
  last_owner: (cause) => new Refusal('last_owner', { cause }),
  role_lost: (cause) => new Refusal('scope_missing', { cause }),
  outlives_maker: () => invalidField('create.expire_time', 'must not be after the end of the token that makes it'),
  etag: (cause) => new Refusal('etag_differs', { cause }),
  page_token: () => invalidField('page_token', 'must be the next_page_token of the same query'),
};
