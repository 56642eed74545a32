import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { decodeBody, encodeBody } from './body-codec.ts';

test.each([0, 1, 100, 1_300, 65_536, 3_000_000])('a body of %i bytes comes back', async (size) => {
  const json = Buffer.alloc(size, '{"message":"once more"},');
  for (const body of [json, randomBytes(size)]) {
    const decoded = await decodeBody(encodeBody(body));
    expect(Buffer.compare(decoded, body)).toBe(0);
  }
});

test('what does not get smaller is kept as it is, everything else gets much smaller', () => {
  const random = randomBytes(10_000);
  expect(encodeBody(random).bytes).toBe(random);
  const json = Buffer.from(JSON.stringify(Array.from({ length: 50 }, (_, line) => ({ line, module: 'app.views' }))));
  expect(encodeBody(json).bytes.byteLength).toBeLessThan(json.byteLength / 4);
});
