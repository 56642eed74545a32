import type { FilterSettings } from '#gen/tideway/control/v1/resources_pb.ts';
import type { DataCategory } from '#lib/ingest/data-category.ts';
import type { Envelope, Sender } from './envelope.ts';

/** Reads, normalizes and filters envelopes: what takes time, on threads of its own. It does no I/O. */
export interface Processor {
  /**
   * One result for each, in their order. What can't be read is a result that says so, and so is what a thread died of, or
   * took too long for: it is refused as `internal`. It rejects only after {@link Processor.close}.
   */
  process(batch: readonly ProcessInput[]): Promise<readonly Processed[]>;
  /** When what it was given is done. */
  close(): Promise<void>;
}

/** Crosses threads: plain data. */
export interface ProcessInput {
  readonly envelope: Envelope;
  readonly sender: Sender;
  readonly project: ProcessProject;
}

/** What processing needs to know of a project. */
export interface ProcessProject {
  readonly organizationId: bigint;
  readonly projectId: bigint;
  readonly keyId: bigint;
  readonly retentionDays: number;
  readonly filters: PlainFilters;
  readonly scrubIpAddresses: boolean;
}

export type PlainFilters = Omit<FilterSettings, '$typeName' | '$unknown'>;

export interface Processed {
  /** At most one, as envelopes have it; of security reports many. */
  readonly events: readonly ProcessedEvent[];
  /** Of `events[0]`; without events, for one that came or comes by itself. */
  readonly attachments: readonly ProcessedAttachment[];
  readonly userReports: readonly { readonly eventId: string; readonly payload: Uint8Array }[];
  /** What was not taken, and why; and what clients say that they dropped. */
  readonly refused: readonly RefusedItem[];
}

export interface ProcessedEvent {
  readonly eventId: string;
  readonly category: DataCategory;
  /** The normalized event: JSON in UTF-8. */
  readonly payload: Uint8Array;
}

export interface ProcessedAttachment {
  readonly eventId: string;
  readonly name: string;
  readonly contentType: string | undefined;
  readonly attachmentType: string;
  readonly payload: Uint8Array;
}

export interface RefusedItem {
  readonly outcome: 'filtered' | 'invalid' | 'client_discard' | 'rate_limited';
  readonly reason: string;
  readonly category: DataCategory;
  readonly quantity: number;
  readonly eventId: string | undefined;
}
