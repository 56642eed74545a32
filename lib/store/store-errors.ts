export type RefusalReason =
  | 'not_found'
  | 'slug_taken'
  | 'email_taken'
  | 'member_exists'
  | 'last_owner'
  | 'role_lost'
  | 'outlives_maker'
  | 'etag'
  | 'page_token';

/** What was asked for can't be, for a reason that the caller may want to know. Nothing was changed. */
export class StoreRefusal extends Error {
  override readonly name = 'StoreRefusal';
  readonly reason: RefusalReason;

  constructor(reason: RefusalReason, message: string = reason) {
    super(message);
    this.reason = reason;
  }
}
