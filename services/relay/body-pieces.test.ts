import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Pieces } from './body-pieces.ts';

const size = fc.oneof({ weight: 20, arbitrary: fc.nat(3) }, fc.nat(3000));

test('whatever the pieces are, the whole is what they are together', () => {
  const runs = fc.array(fc.record({ size, times: fc.integer({ min: 1, max: 700 }) }), { maxLength: 8 });
  fc.assert(
    fc.property(runs, (lists) => {
      const pieces = new Pieces();
      const all: Buffer[] = [];
      for (const { size, times } of lists) {
        for (let n = 0; n < times; n += 1) {
          const piece = Buffer.alloc(size, all.length % 251);
          all.push(piece);
          pieces.push(piece);
        }
      }
      expect(pieces.whole().equals(Buffer.concat(all))).toBe(true);
      pieces.clear();
      expect(pieces.whole()).toHaveLength(0);
    }),
    { numRuns: 50 },
  );
});

test('a small part of something large is copied out of it', () => {
  const pieces = new Pieces();
  pieces.push(Buffer.allocUnsafeSlow(100_000).subarray(0, 10));
  expect(pieces.whole().buffer.byteLength).toBeLessThan(100_000);
});
