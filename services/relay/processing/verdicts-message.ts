import type { DataCategory } from '#lib/ingest/data-category.ts';
import type { RefusedItem } from '../processing.ts';
import type { Verdict } from './work.ts';

/** A batch's verdicts on their way back, as batches come: everything but payloads is one text. */
export interface VerdictsMessage {
  /** JSON of {@link WireVerdict}s. */
  readonly text: string;
  /** The events' payloads one after another. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

type WireVerdict = readonly [
  events: readonly (readonly [eventId: string, category: DataCategory, sizeBytes: number])[],
  attachments?: readonly (readonly [eventId: string, item: number])[],
  userReports?: readonly (readonly [eventId: string, item: number])[],
  refused?: readonly (readonly [RefusedItem['outcome'], string, DataCategory, number, string | null])[],
  faults?: readonly string[],
];

export function encodeVerdicts(verdicts: readonly Verdict[]): VerdictsMessage {
  let length = 0;
  const wire = verdicts.map(({ events, attachments, userReports, refused, faults }): WireVerdict => {
    const sent = events.map(({ eventId, category, payload }) => {
      length += payload.byteLength;
      return [eventId, category, payload.byteLength] as const;
    });
    // Nearly always there is an event and nothing else.
    if (attachments.length + userReports.length + refused.length + faults.length === 0) return [sent];
    return [
      sent,
      attachments.map(({ eventId, item }) => [eventId, item]),
      userReports.map(({ eventId, item }) => [eventId, item]),
      refused.map(({ outcome, reason, category, quantity, eventId }) => [
        outcome,
        reason,
        category,
        quantity,
        eventId ?? null,
      ]),
      faults,
    ];
  });
  const bytes = Buffer.allocUnsafeSlow(length);
  let at = 0;
  for (const { events } of verdicts) {
    for (const { payload } of events) {
      bytes.set(payload, at);
      at += payload.byteLength;
    }
  }
  return { text: JSON.stringify(wire), bytes };
}

export function decodeVerdicts({ text, bytes }: VerdictsMessage): Verdict[] {
  let at = 0;
  return (JSON.parse(text) as WireVerdict[]).map(
    ([events, attachments, userReports, refused, faults]): Verdict => ({
      events: events.map(([eventId, category, sizeBytes]) => {
        const payload = bytes.subarray(at, at + sizeBytes);
        at += sizeBytes;
        return { eventId, category, payload };
      }),
      attachments: attachments?.map(([eventId, item]) => ({ eventId, item })) ?? [],
      userReports: userReports?.map(([eventId, item]) => ({ eventId, item })) ?? [],
      refused:
        refused?.map(([outcome, reason, category, quantity, eventId]) => ({
          outcome,
          reason,
          category,
          quantity,
          eventId: eventId ?? undefined,
        })) ?? [],
      faults: faults ?? [],
    }),
  );
}
