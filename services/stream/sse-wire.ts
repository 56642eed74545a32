import { randomUUID } from 'node:crypto';
import type { EntryId } from '#lib/broker/entry-id.ts';
import { type ControlNotice, concatBytes, type Delivery, leavesCursor, type Wire } from './delivery.ts';
import { streamDataOf } from './stream-data.ts';

/** What an EventSource waits before it reconnects: Conduit's first words. */
const RETRY_MS = 500;
/** The same when the broker is away. */
const RETRY_AWAY_MS = 3_000;

const encoder = new TextEncoder();

/**
 * Conduit's server-sent events. All that comes from outside is JSON in them, so no CR or LF of a publisher can end a
 * line.
 */
export const sseWire = {
  slot: 0,
  opening: encoder.encode(`retry: ${RETRY_MS}\n\n`),
  heartbeat: encoder.encode(':\n\n'),

  entry(delivery: Delivery): Uint8Array {
    const { entry } = delivery;
    if (entry.kind === 'producer_lost') return control({ type: 'producer_lost' }, entry.id);
    // Not ours: an id alone moves the cursor and tells nobody anything.
    const data = streamDataOf(delivery);
    if (data === undefined) return encoder.encode(`id: ${entry.id}\n\n`);
    return encoder.encode(`event: stream\nid: ${entry.id}\ndata: ${data}\n\n`);
  },

  control,
  join: concatBytes,

  goodbye(retryMs: number): Uint8Array {
    return encoder.encode(`retry: ${retryMs}\n\n`);
  },
} as const satisfies Wire<Uint8Array>;

/** Conduit's answer when the broker keeps failing; the response ends with it. */
export const sseBrokerAway: Uint8Array = encoder.encode(
  `retry: ${RETRY_AWAY_MS}\nevent: error\ndata: Too many errors, closing stream\n\n`,
);

function control(notice: ControlNotice, cursor: EntryId | undefined): Uint8Array {
  // An empty id would take the cursor away.
  const id = cursor === undefined && leavesCursor(notice) ? '' : `id: ${cursor ?? ''}\n`;
  return encoder.encode(`event: control\n${id}data: ${controlData(notice)}\n\n`);
}

/** `channelId` where the listener has several. */
export function controlData(notice: ControlNotice, channelId?: string): string {
  return JSON.stringify({
    event_type: 'control',
    message_id: randomUUID(),
    channel_id: channelId,
    control_type: notice.type,
    first_id: notice.type === 'gap' ? notice.firstId : undefined,
  });
}
