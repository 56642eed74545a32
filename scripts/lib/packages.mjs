// @ts-check
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from './failure.mjs';
import { root } from './project.mjs';
import { runCommand } from './run-command.mjs';

/** Installs the npm packages of package-lock.json, unless just these are installed. */
export async function ensurePackages() {
  if (packagesInstalled()) return;
  process.stderr.write('Installing packages…\n');
  // Under NODE_ENV=production npm would leave out Node 24 itself.
  const args = ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'];
  // npm says where it is, so that the npm that was typed is the one that installs.
  const npm = process.env['npm_execpath'];
  const { code } = npm?.endsWith('.js')
    ? await runCommand(process.execPath, [npm, ...args], { cwd: root, show: true })
    : await runCommand('npm', args, { cwd: root, show: true });
  if (code !== 0) throw new Failure('npm ci failed: its own message is above');
}

/**
 * Compares what npm notes in node_modules about what it installed with what the lock file wants. Dates would do on most
 * days, but a checkout changes them.
 */
export function packagesInstalled(folder = root) {
  const wanted = packagesOf(join(folder, 'package-lock.json'));
  const present = packagesOf(join(folder, 'node_modules', '.package-lock.json'));
  if (wanted === undefined || present === undefined) return false;
  return Object.entries(wanted).every(([path, { version, optional }]) => {
    const found = present[path];
    // Packages for other machines are not installed, and are optional.
    return path === '' || (found === undefined ? optional === true : found.version === version);
  });
}

/**
 * @param {string} path
 * @returns {Record<string, { version?: string, optional?: boolean }> | undefined}
 */
function packagesOf(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages;
  } catch {
    // Missing or half written: install.
    return undefined;
  }
}
