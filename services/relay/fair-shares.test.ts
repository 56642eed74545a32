import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FairShares } from './fair-shares.ts';

test.for([1, 2, 8])('of %i who take all they can each has as much as is left for others', (owners) => {
  const shares = new FairShares<number>(9_000);
  const taken = Array.from({ length: owners }, () => 0);
  for (let isAny = true; isAny; ) {
    isAny = false;
    for (const [owner, bytes] of taken.entries()) {
      if (!shares.take(owner, 10)) continue;
      taken[owner] = bytes + 10;
      isAny = true;
    }
  }
  const left = 9_000 - shares.usedBytes;
  for (const bytes of taken) expect(Math.abs(bytes - left)).toBeLessThanOrEqual(20);
  expect(shares.take(owners, left)).toBe(true);
  expect(shares.take(owners + 1, 10)).toBe(false);
});

test('whatever is taken and given: the sum is right, never too much, and who has nothing is forgotten', () => {
  const steps = fc.array(fc.record({ owner: fc.nat(3), bytes: fc.integer({ min: 1, max: 400 }), takes: fc.boolean() }));
  fc.assert(
    fc.property(steps, (story) => {
      const shares = new FairShares<number>(1_000);
      const held: { owner: number; bytes: number }[] = [];
      const sum = () => held.reduce((all, { bytes }) => all + bytes, 0);
      for (const { owner, bytes, takes } of story) {
        if (takes) {
          const own = held.filter((each) => each.owner === owner).reduce((all, each) => all + each.bytes, 0);
          const isTaken = shares.take(owner, bytes);
          expect(isTaken).toBe(own + bytes <= 1_000 - sum());
          if (isTaken) held.push({ owner, bytes });
        } else {
          const [first] = held.splice(0, 1);
          if (first !== undefined) shares.give(first.owner, first.bytes);
        }
        expect(shares.usedBytes).toBe(sum());
        expect(shares.usedBytes).toBeLessThanOrEqual(1_000);
        expect(shares.owners).toBe(new Set(held.map((each) => each.owner)).size);
      }
    }),
  );
});
