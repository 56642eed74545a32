import type { Face } from './byte-sink.ts';
import { chunkWire } from './chunk-wire.ts';
import { sseBrokerAway, sseWire } from './sse-wire.ts';

/** Conduit's events. */
export const sseFace: Face = {
  headers: {
    'Content-Type': 'text/event-stream',
    // no-transform keeps proxies from compressing, and compressing means buffering.
    'Cache-Control': 'no-cache, no-transform',
    'X-Accel-Buffering': 'no',
  },
  wire: sseWire,
  chunkWire: chunkWire(2, sseWire),
  // There is no word for a reader that is too slow: it is cut, and resumes by id.
  endings: { ended: {}, unavailable: { bytes: sseBrokerAway }, too_slow: undefined },
};
