import type { EventStore, StoredEvent } from '#lib/event-store/event-store.ts';
import type { AttachmentMeta, EventMessage } from '#lib/ingest/ingest-message.ts';
import type { Counts } from './counts.ts';

/** An event of the log, with all its records. */
export interface LoggedEvent {
  readonly projectId: bigint;
  readonly eventId: string;
  readonly expiresDay: number;
  /** As it was received: nearly always once. */
  readonly receipts: Receipt[];
}

/** Records that are the same: one append, repeated by whoever did not hear that it had worked. */
export interface Receipt {
  readonly organizationId: bigint;
  readonly timestampMs: number;
  readonly category: EventMessage['category'];
  readonly attachments: readonly Pick<AttachmentMeta, 'id' | 'sizeBytes'>[];
  records: number;
}

export function addReceipt(receipts: Receipt[], message: EventMessage): void {
  const { organizationId, startTimeMs: timestampMs, category } = message;
  const attachments = message.attachments.map(({ id, sizeBytes }) => ({ id, sizeBytes }));
  const ids = attachments.map(({ id }) => id).join();
  const same = receipts.find(
    (other) =>
      other.timestampMs === timestampMs &&
      other.category === category &&
      other.attachments.map(({ id }) => id).join() === ids,
  );
  if (same === undefined) receipts.push({ organizationId, timestampMs, category, attachments, records: 1 });
  else same.records++;
}

/**
 * Counts what each event's records are to the store: one is the event, however often that is there; what was received at
 * another time is a duplicate, each time. Where there are several, the store says which is the event.
 * @throws StoreUnavailableError
 */
export async function countEvents(events: Iterable<LoggedEvent>, counts: Counts, store: EventStore): Promise<void> {
  for (const { projectId, eventId, receipts } of events) {
    const [first] = receipts;
    if (first === undefined) continue;
    const event = receipts.length === 1 ? first : storedOf(receipts, await store.get(projectId, eventId));
    for (const receipt of receipts) {
      if (receipt === event) countReceipt(counts, projectId, receipt);
      else if (receipt.timestampMs !== event.timestampMs) {
        for (let n = 0; n < receipt.records; n++) countReceipt(counts, projectId, receipt);
      }
    }
  }
}

/** Expired, nobody knows: then the first is, as it is within a topic. */
function storedOf(receipts: readonly Receipt[], stored: StoredEvent | undefined): Receipt {
  const ids = new Set(stored?.attachments.map(({ id }) => id));
  const candidates = receipts.filter(
    ({ timestampMs, category, attachments }) =>
      timestampMs === stored?.receivedMs && category === stored.category && attachments.every(({ id }) => ids.has(id)),
  );
  const most = candidates.toSorted((a, b) => b.attachments.length - a.attachments.length)[0] ?? receipts[0];
  if (most === undefined) throw new Error('there is no record');
  return most;
}

function countReceipt(counts: Counts, projectId: bigint, receipt: Receipt): void {
  const { organizationId, timestampMs, category, attachments } = receipt;
  const taken = { organizationId, projectId, timestampMs, outcome: 'accepted', reason: undefined } as const;
  counts.add({ ...taken, category, quantity: 1 });
  for (const { sizeBytes } of attachments) {
    counts.add({ ...taken, category: 'attachment', quantity: sizeBytes });
    counts.add({ ...taken, category: 'attachment_item', quantity: 1 });
  }
}
