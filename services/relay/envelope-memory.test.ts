import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { memoryOf } from './envelope-memory.ts';
import { parseEnvelope } from './envelope-parse.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** What is held of so many of it, each. */
function heldBytes(text: string, times: number): number {
  const kept: unknown[] = [];
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  for (let n = 0; n < times; n += 1) kept.push(parseEnvelope(Buffer.from(text)));
  collect();
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
  const said = memoryOf(parseEnvelope(Buffer.from(text)).envelope, text.length);
  expect(heldBytes(text, 50)).toBeLessThan(1.5 * said);
});

test('the usual one is said to take what it does, and not much more', () => {
  const header =
    '{"event_id":"9ec79c33ec9942ab8353589fcb2e04dc","sdk":{"name":"a","version":"1"},"trace":{"release":"a"}}';
  const text = `${header}\n{"type":"event"}\n{"message":"${'x'.repeat(1_000)}"}`;
  const said = memoryOf(parseEnvelope(Buffer.from(text)).envelope, text.length);
  const held = heldBytes(text, 2_000);
  expect(said / held).toBeGreaterThan(0.8);
  expect(said).toBeLessThan(text.length + 2_048);
});
