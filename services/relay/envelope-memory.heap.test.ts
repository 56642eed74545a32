import { expect, test } from 'vitest';
import { collectGarbage } from '../../test/support/heap.ts';
import type { Sender } from './envelope.ts';
import { memoryOf } from './envelope-memory.ts';
import { parseEnvelope } from './envelope-parse.ts';
import { originOf } from './http-call.ts';

const SENDER: Sender = {
  ...{ publicKey: 'a'.repeat(32), projectId: 1n, remoteAddr: '192.0.2.1' },
  ...{ origin: undefined, userAgent: undefined, client: undefined, receivedMs: 0 },
};

/** What is held of so many of it, each. */
function heldBytes(text: string, times: number): number {
  const kept: unknown[] = [];
  collectGarbage();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  for (let n = 0; n < times; n += 1) kept.push(parseEnvelope(Buffer.from(text)));
  collectGarbage();
  const after = process.memoryUsage();
  expect(kept).toHaveLength(times);
  return (after.heapUsed - heapUsed + after.arrayBuffers - arrayBuffers) / times;
}

const many = (text: string, times: number) => Array.from({ length: times }, () => text).join(',');

test.for([
  ['many items', `{}\n${'{"type":"x"}\n\n'.repeat(500)}`],
  ['a header of lists', `{"a":[${many('[]', 20_000)}]}\n`],
  ['a header of objects', `{"a":[${many('{}', 20_000)}]}\n`],
  ['a header of numbers', `{"a":[${many('1', 30_000)}]}\n`],
  ['a header of fields', `{${Array.from({ length: 4_500 }, (_, n) => `"${n}x":${n}`).join(',')}}\n`],
  ['headers of items', `{}\n${`{"type":"x","a":[${many('{}', 100)}]}\n\n`.repeat(100)}`],
] as const)('what waits takes about what is said of it: %s', ([, text]) => {
  const said = memoryOf(SENDER, parseEnvelope(Buffer.from(text)).envelope, text.length);
  expect(heldBytes(text, 50)).toBeLessThan(1.5 * said);
});

test('the usual one is said to take what it does, and not much more', () => {
  const header =
    '{"event_id":"9ec79c33ec9942ab8353589fcb2e04dc","sdk":{"name":"a","version":"1"},"trace":{"release":"a"}}';
  const text = `${header}\n{"type":"event"}\n{"message":"${'x'.repeat(1_000)}"}`;
  const said = memoryOf(SENDER, parseEnvelope(Buffer.from(text)).envelope, text.length);
  const held = heldBytes(text, 2_000);
  expect(said / held).toBeGreaterThan(0.8);
  expect(said).toBeLessThan(text.length + 2_048);
});

test('what is said of the sender counts, and what is cut of it is not held', () => {
  const text = '{}\n';
  const { envelope } = parseEnvelope(Buffer.from(text));
  const plain = memoryOf(SENDER, envelope, text.length);
  const sender = { ...SENDER, origin: 'o'.repeat(2_000), userAgent: 'u'.repeat(1_000), client: 'c'.repeat(200) };
  expect(memoryOf(sender, envelope, text.length)).toBe(plain + 3_200);
  const kept: unknown[] = [];
  collectGarbage();
  const before = process.memoryUsage().heapUsed;
  for (let n = 0; n < 1_000; n += 1) kept.push(originOf({ referer: Buffer.alloc(15_000, 'x').toString('latin1') }));
  collectGarbage();
  expect((process.memoryUsage().heapUsed - before) / kept.length).toBeLessThan(4_000);
});
