import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { MemoryPages } from './memory-pages.ts';

const sizes = fc.array(fc.oneof(fc.nat(400), fc.nat(16_384)), { minLength: 1, maxLength: 60 });

test('holds what was put into it, and says how much that is before it does', async () => {
  await fc.assert(
    fc.property(sizes, (lengths) => {
      const pages = new MemoryPages();
      const held = new Set<ArrayBufferLike>();
      let dataBytes = 0;
      const all = lengths.map((length, n) => {
        const data = new Uint8Array(length).fill(n + 1);
        const expected = pages.heldBytes + pages.growthBytes(length);
        const start = pages.put(data);
        expect(pages.heldBytes).toBe(expected);
        if (pages.page.length > 0) held.add(pages.page.buffer);
        dataBytes += length;
        return { data, kept: pages.page.subarray(start, start + length) };
      });
      for (const { data, kept } of all) expect(kept).toEqual(data);
      expect(pages.heldBytes).toBe([...held].reduce((sum, { byteLength }) => sum + byteLength, 0));
      // A page and the first of the next are more than the page has room for; the last has as much room again at most.
      expect(pages.heldBytes).toBeLessThanOrEqual(4 * dataBytes);
    }),
  );
});

test('a page that is given back is not held', () => {
  const pages = new MemoryPages();
  pages.put(new Uint8Array(5000));
  const first = pages.page;
  pages.put(new Uint8Array(10));
  pages.giveBack(first);
  expect(pages.heldBytes).toBe(pages.page.length);
});

test('a single message has no more room than it needs', () => {
  const pages = new MemoryPages();
  pages.put(new Uint8Array(7));
  expect(pages.heldBytes).toBe(7);
});
