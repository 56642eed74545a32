import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DEFAULT_MAX_FRAME_BYTES, FRAME_HEAD_BYTES } from './frames.ts';
import { framedBytes, unframedBytes } from './lane.ts';

test('what is said to fit into a room does with its heads, and leaves hardly any of it', () => {
  const frames = fc.integer({ min: DEFAULT_MAX_FRAME_BYTES, max: 2 ** 24 - 1 });
  fc.assert(
    fc.property(fc.nat(70_000), frames, (room, maxFrameBytes) => {
      const bytes = unframedBytes(room, maxFrameBytes);
      expect(framedBytes(bytes, maxFrameBytes)).toBeLessThanOrEqual(room);
      expect(framedBytes(bytes, maxFrameBytes)).toBeGreaterThanOrEqual(room - FRAME_HEAD_BYTES);
    }),
    { numRuns: 1000 },
  );
});
