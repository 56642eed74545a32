import fc from 'fast-check';
import { expect, test } from 'vitest';
import { pack, unpack } from './packed-records.ts';

test('records come out of a buffer as they went in', () => {
  const record = fc.record({
    topic: fc.constantFrom('one', 'two', 'three'),
    key: fc.uint8Array({ maxLength: 20 }),
    value: fc.uint8Array({ maxLength: 300 }),
  });
  fc.assert(
    fc.property(fc.array(record), (records) => {
      expect([...unpack(structuredClone(pack(records)))]).toEqual(records);
    }),
  );
});
