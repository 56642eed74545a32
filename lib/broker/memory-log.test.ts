import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { DEFAULT_RETENTION } from './broker.ts';
import { newChannel, newMessage } from './broker-harness.ts';
import { BEFORE_ALL } from './entry-id.ts';
import { MemoryLog } from './memory-log.ts';

const ENTRY_BYTES = 288;

const steps = fc.array(
  fc.record({
    size: fc.oneof(fc.constant(0), fc.nat(60), fc.nat(9_000)),
    waitMs: fc.nat(3),
    trims: fc.boolean(),
  }),
  { minLength: 1, maxLength: 200, size: 'max' },
);

test('counts the memory of what it retains, and what was read stays as it was', async () => {
  await fc.assert(
    fc.property(steps, fc.nat(5), fc.integer({ min: 1, max: 30_000 }), (made, maxEntries, maxBytes) => {
      const log = new MemoryLog(newChannel());
      const retention = { ...DEFAULT_RETENTION, maxEntries, minAgeMs: 2, maxBytes };
      const read = new Map<string, { data: Uint8Array; byte: number }>();
      let nowMs = 1;
      for (const [n, { size, waitMs, trims }] of made.entries()) {
        nowMs += waitMs;
        const data = new Uint8Array(size).fill(n);
        const grown = log.bytes + log.growthBytes(size);
        log.append(newMessage({ data }), nowMs);
        expect(log.bytes).toBe(grown);
        if (trims) log.trim(retention, nowMs);
        const entries = log.after(BEFORE_ALL, 1_000);
        read.set(log.last, { data: entries.at(-1)!.data, byte: n % 256 });
        const pages = new Set(entries.map((entry) => entry.data.buffer));
        const pageBytes = [...pages].reduce((sum, { byteLength }) => sum + byteLength, 0);
        expect(log.bytes).toBe(pageBytes + entries.length * ENTRY_BYTES);
      }
      for (const { data, byte } of read.values()) expect(data.every((value) => value === byte)).toBe(true);
    }),
  );
});
