import type { DataCategory } from '#lib/ingest/data-category.ts';
import type { Outcome, OutcomeName } from '#lib/ingest/outcome.ts';

/**
 * Events, what came with them, and the counts of what became of everything. On SQLite and on PostgreSQL, by the same
 * queries, and one suite for both:
 *
 * 1. *Once.* {@link EventStore.apply} takes records of the log together with their position, in one transaction: a record
 *    that was applied before, by whoever, changes nothing. So everything here is exactly once in effect.
 * 2. *Each event once.* Of a project, an event id is stored once, as long as the event is kept. A second one is not stored,
 *    and is counted as invalid, `duplicate`; its attachments go with it and are counted so too. The same goes for
 *    attachments (by their id in the event) and reports (by their body) that come by themselves. An event that was
 *    received in the same millisecond as the one that is stored is that itself, in the log again because whoever appended
 *    it did not hear that it had worked: it is not counted.
 * 3. *Accepted is counted where it is saved*, in the transaction that saves: an event in its category, and of its
 *    attachments the bytes as `attachment` and their number as `attachment_item`.
 * 4. *Outcomes are counted once* that have a stamp, also where they are in the log again as an append was repeated.
 * 5. *Counts are exact*: an hourly series, kept for 400 days, and totals that are kept for ever. Reports count as feedback.
 * 6. *Retention.* What has expired is not answered, and goes by and by, whole partitions where the database has such;
 *    reads and writes go on meanwhile. All of a day expires at once, in UTC. What has expired when it comes counts as saved.
 */
export interface EventStore {
  readonly kind: 'sqlite' | 'postgres';

  /**
   * Applies what a batch of the log says, and remembers its position.
   * @returns the events that were new and are kept, for those who follow them live.
   * @throws StoreUnavailableError nothing was applied, or all of it: apply it again.
   */
  apply(batch: EffectBatch): Promise<readonly NewEvent[]>;

  /** Undefined: there is none, or it has expired. @throws StoreUnavailableError */
  get(projectId: bigint, eventId: string): Promise<StoredEvent | undefined>;

  /**
   * Newest first by when they were received.
   * @throws StoreUnavailableError
   * @throws SearchTooLongError it took longer than {@link SEARCH_DEADLINE_MS}.
   */
  list(query: EventQuery): Promise<EventPage>;

  /** An attachment's bytes in chunks. Undefined: there is none. @throws StoreUnavailableError */
  readAttachment(
    projectId: bigint,
    eventId: string,
    attachmentId: string,
  ): Promise<AsyncIterable<Uint8Array> | undefined>;

  /** @throws StoreUnavailableError */
  outcomes(query: OutcomeQuery): Promise<readonly OutcomeCount[]>;

  /** The totals of all time, of an organization or of all. @throws StoreUnavailableError */
  totals(organizationId?: bigint): Promise<readonly OutcomeTotal[]>;

  /** How far a group has come in a partition. @throws StoreUnavailableError */
  position(group: string, topicId: string, partition: number): Promise<Position | undefined>;

  /**
   * The log has lost the end of a partition, and gives its offsets from `offset` on again: the position goes back, so that
   * what comes is not taken for what was applied; but not if it is of a later epoch than what was lost, or, where epochs are not
   * known, before `handledUntil`. What was applied stays.
   * @returns whether there is a position.
   * @throws StoreUnavailableError
   */
  takeBack(lost: PartitionEnd): Promise<boolean>;

  /**
   * Deletes some of what has expired. @returns whether there may be more: call it again.
   * @throws StoreUnavailableError
   */
  deleteExpired(nowMs: number): Promise<boolean>;

  /** @throws StoreUnavailableError */
  ping(timeoutMs: number): Promise<void>;

  /** When nothing is asked of it any more. Idempotent. */
  close(): Promise<void>;
}

/** What records of one partition mean, by rising offset. */
export interface EffectBatch {
  readonly group: string;
  readonly topicId: string;
  readonly partition: number;
  /** Of the log's leader that took them, kept with the position. */
  readonly epoch?: number | undefined;
  readonly effects: readonly Effect[];
}

export interface Position {
  /** After the last that was applied. */
  readonly offset: bigint;
  /** As the batch had it. */
  readonly epoch: number | undefined;
}

export interface PartitionEnd extends Omit<EffectBatch, 'effects'> {
  readonly offset: bigint;
  readonly handledUntil: bigint;
}

export type Effect =
  | { readonly kind: 'event'; readonly offset: bigint; readonly event: NewEvent }
  | { readonly kind: 'attachment_chunk'; readonly offset: bigint; readonly chunk: NewAttachmentChunk }
  | { readonly kind: 'attachment'; readonly offset: bigint; readonly attachment: NewAttachment & Owner }
  | { readonly kind: 'user_report'; readonly offset: bigint; readonly report: NewUserReport }
  | { readonly kind: 'outcome'; readonly offset: bigint; readonly outcome: Outcome }
  /** Means nothing here, or was put aside: only the position moves. */
  | { readonly kind: 'none'; readonly offset: bigint };

/** Whose something is, and until when it is kept. */
export interface Owner {
  readonly organizationId: bigint;
  readonly projectId: bigint;
  readonly keyId: bigint;
  /** 32 lower-case hex digits. */
  readonly eventId: string;
  readonly receivedMs: number;
  readonly retentionDays: number;
}

export interface NewEvent extends Owner {
  readonly category: DataCategory;
  readonly level: string;
  readonly title: string;
  readonly culprit: string;
  readonly platform: string;
  readonly release: string;
  readonly environment: string;
  readonly transaction: string;
  readonly user: string;
  readonly sdk: string;
  /** When it happened. */
  readonly timeMs: number;
  /** What words are looked for in, in lower case. */
  readonly searchText: string;
  /** The event: JSON in UTF-8. Kept compressed. */
  readonly body: Uint8Array;
  readonly attachments: readonly NewAttachment[];
}

export interface NewAttachment {
  readonly id: string;
  readonly filename: string;
  readonly contentType: string;
  readonly attachmentType: string;
  readonly sizeBytes: number;
  /** Undefined: it came in chunks. */
  readonly data: Uint8Array | undefined;
}

export interface NewAttachmentChunk extends Owner {
  readonly attachmentId: string;
  readonly index: number;
  readonly data: Uint8Array;
}

export interface NewUserReport extends Owner {
  /** JSON in UTF-8. */
  readonly body: Uint8Array;
}

export type ListedEvent = Omit<NewEvent, 'body' | 'attachments' | 'searchText'> & {
  readonly expiresMs: number;
  readonly attachments: readonly Omit<NewAttachment, 'data'>[];
};

export type StoredEvent = ListedEvent & { readonly body: Uint8Array };

export interface EventQuery {
  readonly organizationId: bigint;
  /** Undefined: all of the organization's. */
  readonly projectId: bigint | undefined;
  readonly fromMs: number | undefined;
  /** Exclusive. */
  readonly toMs: number | undefined;
  readonly level: string | undefined;
  readonly release: string | undefined;
  readonly environment: string | undefined;
  readonly category: string | undefined;
  /** All must occur. */
  readonly words: readonly string[];
  /** Where the page before ended. */
  readonly after: EventPosition | undefined;
  readonly limit: number;
}

export interface EventPosition {
  readonly receivedMs: number;
  readonly projectId: bigint;
  readonly eventId: string;
}

export interface EventPage {
  readonly events: readonly ListedEvent[];
  /** Undefined: it is the last page. */
  readonly next: EventPosition | undefined;
}

export interface OutcomeQuery {
  readonly organizationId: bigint;
  readonly projectId: bigint | undefined;
  readonly keyId: bigint | undefined;
  readonly category: string | undefined;
  /** Hours that have begun in this time, its end exclusive. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly limit: number;
}

export interface OutcomeTotal {
  readonly organizationId: bigint;
  readonly projectId: bigint;
  /** 0: unknown. */
  readonly keyId: bigint;
  readonly outcome: OutcomeName;
  readonly reason: string;
  readonly category: DataCategory;
  readonly quantity: bigint;
  readonly times: bigint;
}

export interface OutcomeCount extends OutcomeTotal {
  readonly hourMs: number;
}

export const SEARCH_DEADLINE_MS = 5_000;

/** There is too much to search. */
export class SearchTooLongError extends Error {
  override readonly name = 'SearchTooLongError';
}
