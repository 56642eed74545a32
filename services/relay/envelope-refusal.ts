import type { DataCategory } from '#lib/ingest/data-category.ts';

interface TableEntry {
  readonly status: number;
  readonly detail: string;
  /** What its outcome says, where it was meant for a key that we could tell. */
  readonly outcome?: string;
  /** Soon it may be taken. */
  readonly passes?: true;
}

/** Why what was sent is no envelope that we take: one table for HTTP and RPC. Statuses are those that SDKs know. */
export const ENVELOPE_REFUSALS = {
  empty_body: { status: 400, detail: 'the request has no body', outcome: 'empty_body' },
  invalid_json: { status: 400, detail: 'the body is not a JSON object', outcome: 'invalid_json' },
  invalid_base64: { status: 400, detail: 'the body is neither JSON nor base64 of it', outcome: 'invalid_json' },
  invalid_compression: { status: 400, detail: 'the body can not be decompressed', outcome: 'invalid_compression' },
  invalid_envelope: { status: 400, detail: 'the envelope is malformed', outcome: 'invalid_envelope' },
  invalid_event_id: { status: 400, detail: 'the event id is malformed', outcome: 'invalid_event_id' },
  invalid_multipart: { status: 400, detail: 'the multipart form is malformed', outcome: 'invalid_multipart' },
  invalid_minidump: { status: 400, detail: 'the file is not a minidump', outcome: 'invalid_minidump' },
  missing_minidump: { status: 400, detail: 'the form has no minidump', outcome: 'missing_minidump_upload' },
  missing_attachment: { status: 400, detail: 'the form has no file', outcome: 'no_event_payload' },
  too_many_items: { status: 400, detail: 'the envelope has too many items', outcome: 'invalid_envelope' },
  dsn_differs: { status: 400, detail: 'the envelope has another DSN than the request', outcome: 'invalid_envelope' },
  origin_differs: { status: 400, detail: 'the envelope has another origin than the request', outcome: 'cors' },
  cut: { status: 400, detail: 'the request ended before its body did' },
  invalid_dsn: { status: 400, detail: 'the DSN is malformed' },
  invalid_key: { status: 400, detail: 'the key is malformed' },
  invalid_version: { status: 400, detail: 'this version of the protocol is not known' },
  invalid_auth: { status: 401, detail: 'the authorization is malformed' },
  missing_auth: { status: 401, detail: 'missing authorization information' },
  missing_key: { status: 401, detail: 'the authorization has no sentry_key' },
  multiple_auth: { status: 401, detail: 'multiple authorization payloads' },
  not_found: { status: 404, detail: 'there is no such path' },
  method_not_allowed: { status: 405, detail: 'this path is not for this method' },
  too_large: { status: 413, detail: 'the request is too large', outcome: 'too_large' },
  too_many_of_a_kind: { status: 413, detail: 'the envelope has too many items of a kind', outcome: 'too_large' },
  duplicate_item: { status: 413, detail: 'the envelope has more than one event', outcome: 'duplicate_item' },
  unknown_encoding: { status: 415, detail: 'this Content-Encoding is not known' },
  unknown_content_type: { status: 415, detail: 'this Content-Type is not known' },
  too_many_bodies: {
    status: 429,
    detail: 'too many requests of this address are under way: try again soon',
    passes: true,
  },
  internal: { status: 500, detail: 'internal error', outcome: 'internal' },
  busy: { status: 503, detail: 'too much is being received: try again soon', passes: true },
} as const satisfies Record<string, TableEntry>;

export type EnvelopeRefusalReason = keyof typeof ENVELOPE_REFUSALS;

/** What is refused for a reason of the table. */
export class EnvelopeRefusal extends Error {
  override readonly name = 'EnvelopeRefusal';
  readonly reason: EnvelopeRefusalReason;
  /** Which item it is about. Of those that we know: it is never what somebody sent. */
  readonly item: string | undefined;
  /** What is lost by it. */
  readonly category: DataCategory | undefined;

  constructor(
    reason: EnvelopeRefusalReason,
    more: { readonly item?: string; readonly category?: DataCategory; readonly cause?: unknown } = {},
  ) {
    super(ENVELOPE_REFUSALS[reason].detail, { cause: more.cause });
    this.reason = reason;
    this.item = more.item;
    this.category = more.category;
  }

  get status(): number {
    return ENVELOPE_REFUSALS[this.reason].status;
  }

  get passes(): boolean {
    const entry: TableEntry = ENVELOPE_REFUSALS[this.reason];
    return entry.passes === true;
  }

  /** Undefined: it is nobody's, or not lost. */
  get outcome(): string | undefined {
    const entry: TableEntry = ENVELOPE_REFUSALS[this.reason];
    if (entry.outcome === undefined || this.item === undefined) return entry.outcome;
    return `${entry.outcome}:${this.item}`;
  }
}
