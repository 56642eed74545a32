import { randomUUID } from 'node:crypto';
import { PhaseSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import type { EntryId } from '#lib/broker/entry-id.ts';
import { type ControlNotice, concatBytes, type Delivery, type Wire } from './delivery.ts';

/** What an EventSource waits before it reconnects: Conduit's first words. */
const RETRY_MS = 500;
/** The same when the broker is away. */
const RETRY_AWAY_MS = 3_000;

const encoder = new TextEncoder();
const phaseNames = new Map<number, string>(PhaseSchema.values.map(({ number, name }) => [number, name]));

/**
 * Conduit's server-sent events. All that comes from outside is JSON in them, so no CR or LF of a publisher can end a
 * line.
 */
export const sseWire = {
  slot: 0,
  opening: encoder.encode(`retry: ${RETRY_MS}\n\n`),
  heartbeat: encoder.encode(':\n\n'),

  entry(delivery: Delivery): Uint8Array {
    const { entry, message } = delivery;
    if (entry.kind === 'producer_lost') return control({ type: 'producer_lost' }, entry.id);
    // Not ours: an id alone moves the cursor and tells nobody anything.
    if (message === undefined) return encoder.encode(`id: ${entry.id}\n\n`);
    // By hand, as a uint64 sequence is a JSON number with all its digits, which JSON.stringify has no way to write.
    const data =
      `{"event_type":"stream","message_id":"${message.messageId.toLowerCase()}"` +
      `,"channel_id":"${message.channelId.toLowerCase()}","phase":"${phaseNames.get(message.phase)}"` +
      `,"sequence":${message.sequence},"payload":${JSON.stringify(message.payload ?? null)}}`;
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
  const data = JSON.stringify({
    event_type: 'control',
    message_id: randomUUID(),
    control_type: notice.type,
    first_id: notice.type === 'gap' ? notice.firstId : undefined,
  });
  return encoder.encode(`event: control\nid: ${cursor ?? ''}\ndata: ${data}\n\n`);
}
