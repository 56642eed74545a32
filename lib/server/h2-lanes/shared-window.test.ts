import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DEFAULT_WINDOW_BYTES } from './frames.ts';
import { SESSION_SHARE_BYTES, SharedWindow } from './shared-window.ts';

const steps = fc.array(
  fc.record({
    who: fc.constantFrom('session', 'lanes', 'peer', 'lend'),
    part: fc.double({ min: 0, max: 1, noNaN: true }),
  }),
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
        } else if (who === 'lend') {
          sessionBytes += window.lend();
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

test('who has spent half of its share is lent more, for as long as the lanes have any', () => {
  const window = new SharedWindow();
  const allBytes = 100_000_000;
  let sentBytes = 0;
  let sessionBytes = DEFAULT_WINDOW_BYTES + window.credit(allBytes);
  while (sessionBytes > 0) {
    window.spendBySession(sessionBytes);
    sentBytes += sessionBytes;
    sessionBytes = window.lend();
  }
  expect(sentBytes).toBe(allBytes + DEFAULT_WINDOW_BYTES - window.lanesBytes);
  expect(window.lanesBytes).toBe(1);
});
