import type { Face } from './byte-sink.ts';
import type { Delivery } from './delivery.ts';
import { type ManyWire, manyWires } from './many-wire.ts';
import { sseFace } from './sse-face.ts';
import { controlData, sseWire } from './sse-wire.ts';
import { streamDataOf } from './stream-data.ts';

const encoder = new TextEncoder();
const NOTHING = new Uint8Array();
const CURSOR_HEAD = encoder.encode('id: ');
const BLOCK_END = encoder.encode('\n\n');

/**
 * Conduit's events without ids, and an id of its own after what belongs together: an EventSource takes it for its
 * Last-Event-ID, and dispatches nothing. Text that coalesces has it within.
 */
const { wire, chunkWire } = manyWires({
  slot: 7,
  opening: sseWire.opening,
  heartbeat: sseWire.heartbeat,
  goodbye: sseWire.goodbye,
  entry(delivery: Delivery) {
    const data = streamDataOf(delivery);
    return data === undefined ? NOTHING : encoder.encode(`event: stream\ndata: ${data}\n\n`);
  },
  control: (notice, channelId) => encoder.encode(`event: control\ndata: ${controlData(notice, channelId)}\n\n`),
  cursorHead: () => CURSOR_HEAD,
  cursorEnd: BLOCK_END,
  // In the same block, of which nothing counts before the line that ends it has come.
  carrying: (entry) => ({ before: [entry.subarray(0, -1), CURSOR_HEAD], after: BLOCK_END }),
});

export const manySseFace: Face<ManyWire<Uint8Array>> = { ...sseFace, wire, chunkWire };
