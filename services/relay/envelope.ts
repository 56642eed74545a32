/** What an SDK sends at once, read as far as the endpoint needs: payloads are bytes of the request, not looked into. */
export interface Envelope {
  /**
   * 32 lower-case hex digits: of the header, else of the event, else, for an event, a new one. Without an event it is the
   * one that attachments and reports belong to. Undefined: there is no event, and the header names none.
   */
  readonly eventId: string | undefined;
  /** By the sender's clock. */
  readonly sentAtMs: number | undefined;
  /** The header's other fields (`trace`, `sdk` …). */
  readonly headers: Readonly<Record<string, unknown>>;
  readonly items: readonly Item[];
}

export interface Item {
  readonly type: string;
  readonly contentType: string | undefined;
  readonly filename: string | undefined;
  readonly attachmentType: string | undefined;
  /** Its header's other fields. */
  readonly headers: Readonly<Record<string, unknown>>;
  readonly payload: Uint8Array;
}

/** Who sent an envelope, and when. */
export interface Sender {
  /** 32 lower-case hex digits. */
  readonly publicKey: string;
  /** Of the URL. Undefined: legacy paths without. */
  readonly projectId: bigint | undefined;
  readonly remoteAddr: string | undefined;
  readonly origin: string | undefined;
  readonly userAgent: string | undefined;
  /** The SDK: `sentry_client`. */
  readonly client: string | undefined;
  readonly receivedMs: number;
}

export interface Received {
  readonly sender: Sender;
  readonly envelope: Envelope;
  /** What it takes of memory while it waits. */
  readonly sizeBytes: number;
}
