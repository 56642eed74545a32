import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { usedBytes } from '../../test/support/heap.ts';
import type { ConfigEntry } from './config-entry.ts';
import { MemoryConfigs } from './memory-configs.ts';

const MAX_BYTES = 16 * 1024 * 1024;

function config(sizeBytes: number): ConfigEntry {
  return { kind: 'config', revision: 12_345_678n, bytes: new Uint8Array(sizeBytes), loadedAtMs: Date.now() };
}

test.each([
  ['small configs', () => config(60)],
  ['large configs', () => config(5_000)],
  ['disabled keys', (): ConfigEntry => ({ kind: 'disabled', loadedAtMs: Date.now() })],
  ['unknown keys', (): ConfigEntry => ({ kind: 'unknown', loadedAtMs: Date.now() })],
])(
  'five times as many %s as fit stay below the bound',
  (_, entry) => {
    const before = usedBytes();
    const configs = new MemoryConfigs(MAX_BYTES);
    for (let written = 0; written < 5 * MAX_BYTES; ) {
      const next = entry();
      configs.set(randomBytes(16).toString('hex'), next);
      written += next.kind === 'config' ? 1024 + next.bytes.byteLength : 512;
    }
    const bytes = usedBytes() - before;
    expect(configs.bytes).toBeLessThanOrEqual(MAX_BYTES);
    // The measure is a rough one: garbage of the test runner in the same heap, and memory that goes a little later. Without
    // the bound it would be five times as much.
    expect(bytes).toBeLessThan(1.5 * MAX_BYTES);
  },
  30_000,
);

test('whoever asks for keys that do not exist pushes out none that do', () => {
  const configs = new MemoryConfigs(MAX_BYTES);
  configs.set('a', config(100));
  for (let n = 0; n < 200_000; n += 1) configs.set(`unknown-${n}`, { kind: 'unknown', loadedAtMs: 0 });
  expect(configs.get('a')?.kind).toBe('config');
});

test('a key is in one part only', () => {
  const configs = new MemoryConfigs(MAX_BYTES);
  configs.set('a', { kind: 'unknown', loadedAtMs: 0 });
  configs.set('a', config(1));
  expect(configs.get('a')?.kind).toBe('config');
  configs.set('a', { kind: 'unknown', loadedAtMs: 0 });
  expect(configs.get('a')?.kind).toBe('unknown');
  configs.delete('a');
  expect(configs.get('a')).toBeUndefined();
  expect(configs.bytes).toBe(0);
});
