import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { packagesInstalled } from './lib/packages.mjs';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tideway-packages-'));
  mkdirSync(join(folder, 'node_modules'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

type Packages = Record<string, { version: string; optional?: boolean }>;

function lock(packages: Packages) {
  writeFileSync(join(folder, 'package-lock.json'), JSON.stringify({ packages: { '': {}, ...packages } }));
}
function installed(packages: Packages) {
  writeFileSync(join(folder, 'node_modules', '.package-lock.json'), JSON.stringify({ packages }));
}

test('what the lock file names is installed, but for packages of other machines', () => {
  lock({ 'node_modules/a': { version: '1.0.0' }, 'node_modules/a-darwin': { version: '1.0.0', optional: true } });
  installed({ 'node_modules/a': { version: '1.0.0' } });
  expect(packagesInstalled(folder)).toBe(true);
});

test('nothing is installed', () => {
  lock({ 'node_modules/a': { version: '1.0.0' } });
  expect(packagesInstalled(folder)).toBe(false);
});

test('a package is missing, of another version, or the note is cut short', () => {
  lock({ 'node_modules/a': { version: '1.0.1' } });
  installed({});
  expect(packagesInstalled(folder)).toBe(false);
  installed({ 'node_modules/a': { version: '1.0.0' } });
  expect(packagesInstalled(folder)).toBe(false);
  writeFileSync(join(folder, 'node_modules', '.package-lock.json'), '{"packages":');
  expect(packagesInstalled(folder)).toBe(false);
});
