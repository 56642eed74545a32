import { H2_PREFACE } from '../first-bytes.ts';
import { FRAME_HEAD_BYTES, FrameType, readHead } from './frames.ts';

/**
 * Who lets a connection have so much under way means to have many streams on it that last: Envoy's, for listeners, asks for
 * lanes by this. For calls that come and go they are a detour.
 */
export const LANES_FROM_WINDOW_BYTES = 32 * 1024 * 1024;

/** Whether a client's first bytes, its preface and what came with it, ask for lanes. */
export function wantsLanes(seen: Buffer): boolean {
  for (let at = H2_PREFACE.length; at + FRAME_HEAD_BYTES + 4 <= seen.length; ) {
    const { type, streamId, lengthBytes } = readHead(seen, at);
    if (type === FrameType.windowUpdate && streamId === 0 && lengthBytes === 4) {
      return seen.readUInt32BE(at + FRAME_HEAD_BYTES) >= LANES_FROM_WINDOW_BYTES;
    }
    at += FRAME_HEAD_BYTES + lengthBytes;
  }
  return false;
}
