import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DEFAULT_WINDOW_BYTES } from './frames.ts';
import { SESSION_SHARE_BYTES, SharedWindow } from './shared-window.ts';

const steps = fc.array(
  fc.record({ who: fc.constantFrom('session', 'lanes', 'peer'), part: fc.double({ min: 0, max: 1, noNaN: true }) }),
  { maxLength: 200 },
);

test('together they never send more than the peer allows, and all it gives is for one of them', () => {
  fc.assert(
    fc.property(steps, fc.nat(100_000_000), (taken, givenBytes) => {
      const window = new SharedWindow();
      let sessionBytes = DEFAULT_WINDOW_BYTES + window.credit(givenBytes);
      let outstanding = 0;
      for (const { who, part } of taken) {
        if (who === 'session') {
          const bytes = Math.floor(part * sessionBytes);
          sessionBytes -= bytes;
          outstanding += bytes;
          window.spendBySession(bytes);
        } else if (who === 'lanes') {
          const bytes = Math.floor(part * window.lanesBytes);
          outstanding += bytes;
          window.spendByLanes(bytes);
        } else {
          const bytes = Math.floor(part * outstanding);
          outstanding -= bytes;
          sessionBytes += window.credit(bytes);
        }
        expect(window.lanesBytes).toBeGreaterThanOrEqual(0);
        expect(sessionBytes).toBeLessThanOrEqual(SESSION_SHARE_BYTES);
        expect(sessionBytes + window.lanesBytes + outstanding).toBe(DEFAULT_WINDOW_BYTES + givenBytes);
      }
    }),
  );
});
