import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { installWhole } from './lib/install-whole.mjs';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tideway-install-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test('is there when it is whole, and not before', async () => {
  const folder = join(dir, 'tools', 'program-1');
  await installWhole(folder, async (unpacked) => {
    writeFileSync(join(unpacked, 'half'), '');
    expect(readdirSync(join(dir, 'tools'))).not.toContain('program-1');
    writeFileSync(join(unpacked, 'whole'), '');
  });
  expect(readdirSync(folder)).toEqual(['half', 'whole']);
  expect(readdirSync(join(dir, 'tools'))).toEqual(['program-1']);
});

test('one that fails leaves nothing', async () => {
  const fill = async (unpacked: string) => {
    writeFileSync(join(unpacked, 'half'), '');
    throw new Error('no network');
  };
  await expect(installWhole(join(dir, 'program-1'), fill)).rejects.toThrow('no network');
  expect(readdirSync(dir)).toEqual([]);
});

test('of two at once one is there, whole', async () => {
  const bothFill = Promise.withResolvers<void>();
  let filling = 0;
  const install = (name: string) =>
    installWhole(join(dir, 'program-1'), async (unpacked) => {
      writeFileSync(join(unpacked, 'first'), name);
      if (++filling === 2) bothFill.resolve();
      await bothFill.promise;
      writeFileSync(join(unpacked, 'second'), name);
    });
  await Promise.all([install('a'), install('b')]);
  expect(readdirSync(dir)).toEqual(['program-1']);
  const read = (file: string) => readFileSync(join(dir, 'program-1', file), 'utf8');
  expect(read('first')).toBe(read('second'));
});
