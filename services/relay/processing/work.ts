import type { Processed, ProcessedAttachment, ProcessedEvent, ProcessInput, RefusedItem } from '../processing.ts';
import type { Origin } from './normalize/draft.ts';

/** An envelope as processing reads it. Payloads that are only passed on stay where they are. */
export interface Work {
  readonly eventId: string | undefined;
  readonly sentAtMs: number | undefined;
  readonly items: readonly WorkItem[];
  readonly sender: Origin['sender'];
  readonly project: ProcessInput['project'];
}

export interface WorkItem {
  readonly type: string;
  readonly attachmentType: string | undefined;
  readonly sizeBytes: number;
  /** Those of the item's headers that are read: {@link READ_HEADERS}. */
  readonly headers: Readonly<Record<string, unknown>>;
  /** Undefined: of an item that isn't read. */
  readonly payload: Uint8Array | undefined;
}

/** What becomes of it. Items are named by their index. */
export interface Verdict {
  readonly events: readonly ProcessedEvent[];
  readonly attachments: readonly Belonging[];
  readonly userReports: readonly Belonging[];
  readonly refused: readonly RefusedItem[];
  /** Where a fault of ours was: never what it was about. */
  readonly faults: readonly string[];
}

export interface Belonging {
  readonly eventId: string;
  readonly item: number;
}

export const READ_HEADERS = ['item_count', 'sentry_release', 'sentry_environment'] as const;

const READ_TYPES: ReadonlySet<string> = new Set([
  'event',
  'transaction',
  'feedback',
  'user_report_v2',
  'security',
  'raw_security',
  'user_report',
  'client_report',
]);
const DEFAULT_ATTACHMENT_TYPE = 'event.attachment';
const UNNAMED = 'unnamed';

export function workOf(input: ProcessInput): Work {
  const { envelope, sender, project } = input;
  return {
    eventId: envelope.eventId,
    sentAtMs: envelope.sentAtMs,
    items: envelope.items.map(({ type, attachmentType, headers, payload }) => ({
      type,
      attachmentType,
      headers,
      sizeBytes: payload.byteLength,
      payload: isRead(type) ? payload : undefined,
    })),
    sender,
    project,
  };
}

/** Whether processing looks into payloads of this type. */
export function isRead(type: string): boolean {
  return READ_TYPES.has(type);
}

/** The verdict, with what it only names. */
export function resolve({ envelope }: ProcessInput, verdict: Verdict): Processed {
  return {
    events: verdict.events,
    attachments: verdict.attachments.map(({ eventId, item }): ProcessedAttachment => {
      const { filename, contentType, attachmentType, payload } = envelope.items[item]!;
      return {
        eventId,
        name: filename ?? UNNAMED,
        contentType,
        attachmentType: attachmentType ?? DEFAULT_ATTACHMENT_TYPE,
        payload,
      };
    }),
    userReports: verdict.userReports.map(({ eventId, item }) => ({ eventId, payload: envelope.items[item]!.payload })),
    refused: verdict.refused,
  };
}
