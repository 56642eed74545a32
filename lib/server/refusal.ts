import { create } from '@bufbuild/protobuf';
import type { Duration } from '@bufbuild/protobuf/wkt';
import { DurationSchema } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import {
  BadRequestSchema,
  ErrorInfoSchema,
  QuotaFailureSchema,
  RetryInfoSchema,
} from '#gen/google/rpc/error_details_pb.ts';

interface TableEntry {
  readonly code: Code;
  readonly status: number;
  readonly text: string;
  readonly retryAfterMs?: number;
}

/**
 * Why we say no: one table for every face. `text` is the HTTP body, and Conduit's word for it where Conduit has one;
 * `retryAfterMs` marks what is worth sending again unchanged.
 */
export const REFUSALS = {
  missing_authorization: { code: Code.Unauthenticated, status: 401, text: 'Missing authorization header' },
  invalid_authorization: { code: Code.Unauthenticated, status: 401, text: 'Invalid authorization format' },
  token_expired: { code: Code.Unauthenticated, status: 401, text: 'Token expired' },
  publish_token_invalid: { code: Code.Unauthenticated, status: 401, text: 'Token validation failed' },
  stream_token_invalid: { code: Code.Unauthenticated, status: 401, text: 'Invalid token' },
  api_token_invalid: { code: Code.Unauthenticated, status: 401, text: 'Invalid API token' },
  relay_token_invalid: { code: Code.Unauthenticated, status: 401, text: 'Invalid relay token' },
  scope_missing: { code: Code.PermissionDenied, status: 403, text: 'The scope for this is missing' },
  sign_in_refused: { code: Code.Unauthenticated, status: 401, text: 'Wrong e-mail address or password' },
  session_missing: { code: Code.Unauthenticated, status: 401, text: 'Sign in first' },
  identity_refused: {
    code: Code.PermissionDenied,
    status: 403,
    text: 'The OpenID provider did not confirm the sign-in',
  },
  email_unverified: {
    code: Code.PermissionDenied,
    status: 403,
    text: 'The OpenID provider has not verified the e-mail address',
  },
  sign_up_closed: { code: Code.PermissionDenied, status: 403, text: 'No new accounts are made here' },
  invitation_missing: {
    code: Code.PermissionDenied,
    status: 403,
    text: 'An account needs an invitation for its address',
  },
  other_origin: { code: Code.PermissionDenied, status: 403, text: 'A page of another origin may not do this' },
  claims_differ: { code: Code.PermissionDenied, status: 403, text: 'Invalid token claims' },
  cancel_not_allowed: { code: Code.PermissionDenied, status: 403, text: 'This token may not cancel' },
  token_revoked: { code: Code.Unauthenticated, status: 401, text: 'Token revoked' },
  invalid_protobuf: { code: Code.InvalidArgument, status: 400, text: 'Invalid protobuf' },
  invalid_argument: { code: Code.InvalidArgument, status: 400, text: 'Invalid request' },
  not_found: { code: Code.NotFound, status: 404, text: 'Not found' },
  method_not_allowed: { code: Code.Unimplemented, status: 405, text: 'Method not allowed' },
  too_large: { code: Code.ResourceExhausted, status: 413, text: 'Message too large' },
  rate_limited: { code: Code.ResourceExhausted, status: 429, text: 'Rate limit exceeded', retryAfterMs: 1000 },
  too_many_attempts: { code: Code.ResourceExhausted, status: 429, text: 'Too many attempts', retryAfterMs: 60_000 },
  stream_ended: { code: Code.FailedPrecondition, status: 409, text: 'Stream ended' },
  no_signing_key: {
    code: Code.FailedPrecondition,
    status: 412,
    text: 'StartStream has no key to sign with: set GATEWAY_JWT_PRIVATE_KEY',
  },
  no_starters: {
    code: Code.FailedPrecondition,
    status: 412,
    text: 'StartStream is closed: set TIDEWAY_API_TOKEN or CONTROL_URL',
  },
  already_exists: { code: Code.AlreadyExists, status: 409, text: 'Already exists' },
  etag_differs: {
    code: Code.Aborted,
    status: 409,
    text: 'It has changed and has another etag: read it again',
  },
  last_owner: {
    code: Code.FailedPrecondition,
    status: 409,
    text: 'The last owner of an organization stays one: make another one first',
  },
  earlier_refused: {
    code: Code.Aborted,
    status: 409,
    text: 'An earlier message of this channel was refused: send that one again first, and what follows it in its order',
    retryAfterMs: 0,
  },
  slow_listener: { code: Code.ResourceExhausted, status: 429, text: 'This listener reads too slowly: resume by id' },
  broker_away: {
    code: Code.Unavailable,
    status: 503,
    text: 'Failed to publish message to stream',
    retryAfterMs: 1000,
  },
  too_many_listeners: { code: Code.Unavailable, status: 503, text: 'Too many listeners', retryAfterMs: 3000 },
  too_many_watchers: {
    code: Code.ResourceExhausted,
    status: 429,
    text: 'Too many relays watch here',
    retryAfterMs: 3000,
  },
  public_key_malformed: { code: Code.Unauthenticated, status: 401, text: 'The key is malformed' },
  intake_refused: { code: Code.PermissionDenied, status: 403, text: 'Nothing is taken with this key' },
  intake_overloaded: {
    code: Code.Unavailable,
    status: 503,
    text: 'Too much is waiting here: send it again',
    retryAfterMs: 1000,
  },
  too_many_senders: { code: Code.Unavailable, status: 503, text: 'Too many callers send here', retryAfterMs: 3000 },
  keys_away: { code: Code.Unavailable, status: 503, text: 'Token keys can not be loaded', retryAfterMs: 1000 },
  search_too_long: {
    code: Code.DeadlineExceeded,
    status: 504,
    text: 'The search took too long: ask for less time or fewer words',
  },
  store_away: { code: Code.Unavailable, status: 503, text: 'The database is away', retryAfterMs: 1000 },
  control_away: { code: Code.Unavailable, status: 503, text: 'API tokens can not be checked', retryAfterMs: 1000 },
  identity_away: {
    code: Code.Unavailable,
    status: 503,
    text: 'The OpenID provider does not answer',
    retryAfterMs: 1000,
  },
  draining: { code: Code.Unavailable, status: 503, text: 'Server is draining', retryAfterMs: 0 },
} as const satisfies Record<string, TableEntry>;

export type RefusalReason = keyof typeof REFUSALS;

export interface Violation {
  /** The field's path, as in `payload` or `message.channel_id`. */
  readonly field: string;
  readonly description: string;
}

/** A request that is refused, for a reason of the table. Everything else that is thrown is a bug or an accident. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly reason: RefusalReason;
  readonly violations: readonly Violation[];
  readonly retryAfterMs: number | undefined;

  constructor(
    reason: RefusalReason,
    more: {
      /** In place of the table's text. */
      text?: string;
      violations?: readonly Violation[];
      retryAfterMs?: number;
      cause?: unknown;
    } = {},
  ) {
    super(more.text ?? REFUSALS[reason].text, { cause: more.cause });
    this.reason = reason;
    this.violations = more.violations ?? [];
    const entry: TableEntry = REFUSALS[reason];
    this.retryAfterMs = more.retryAfterMs ?? entry.retryAfterMs;
  }

  get status(): number {
    return REFUSALS[this.reason].status;
  }

  get code(): Code {
    return REFUSALS[this.reason].code;
  }

  /** HTTP's Retry-After is in whole seconds; 0 would be asked again at once. */
  get retryAfterSec(): number | undefined {
    return this.retryAfterMs === undefined ? undefined : Math.max(1, Math.ceil(this.retryAfterMs / 1000));
  }
}

/** A field that is wrong, said in the field's own words. */
export function invalidField(field: string, description: string): Refusal {
  return invalidFields([{ field, description }]);
}

/** A batch can have thousands. All of them would make an answer that is too long for trailers, and for the edge. */
const MAX_TOLD_VIOLATIONS = 20;

export function invalidFields(violations: readonly Violation[]): Refusal {
  const told = violations.slice(0, MAX_TOLD_VIOLATIONS);
  const texts = told.map(({ field, description }) => `${field}: ${description}`);
  if (violations.length > told.length) texts.push(`and ${violations.length - told.length} more`);
  return new Refusal('invalid_argument', { text: texts.join('; '), violations: told });
}

/** The same refusal for RPC, with google.rpc details. */
export function toConnectError(refusal: Refusal): ConnectError {
  const error = new ConnectError(refusal.message, refusal.code, undefined, undefined, refusal.cause);
  if (refusal.violations.length > 0) {
    error.details.push({
      desc: BadRequestSchema,
      value: { fieldViolations: refusal.violations.map(({ field, description }) => ({ field, description })) },
    });
  }
  if (refusal.reason === 'rate_limited') {
    error.details.push({ desc: QuotaFailureSchema, value: { violations: [{ description: refusal.message }] } });
  }
  if (refusal.retryAfterMs !== undefined) {
    error.details.push({ desc: RetryInfoSchema, value: { retryDelay: durationOf(refusal.retryAfterMs) } });
    error.metadata.set('Retry-After', String(refusal.retryAfterSec));
  }
  error.details.push({
    desc: ErrorInfoSchema,
    value: { reason: refusal.reason.toUpperCase(), domain: 'tideway' },
  });
  return error;
}

function durationOf(ms: number): Duration {
  return create(DurationSchema, { seconds: BigInt(Math.floor(ms / 1000)), nanos: Math.round((ms % 1000) * 1_000_000) });
}
