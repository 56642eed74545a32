// @ts-check
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { programs, root } from './project.mjs';
import { runCommand } from './run-command.mjs';

/**
 * What holds the contracts still. `folder` is a project's root (buf.yaml, proto/, third_party/, gen/, contracts/).
 *
 * @typedef {{ ok: boolean, output: string }} Finding
 */

/** @param {string} [folder] @returns {Promise<Finding>} */
export const lint = (folder = root) => buf(folder, ['lint']);

/** @param {string} [folder] @returns {Promise<Finding>} */
export const format = (folder = root) => buf(folder, ['format', '--diff', '--exit-code', 'proto']);

/**
 * Compares with the image of an earlier release.
 * @param {string} image
 * @param {string} [folder]
 * @returns {Promise<Finding>}
 */
export const breaking = (image, folder = root) => buf(folder, ['breaking', 'proto', '--against', image]);

/**
 * Writes the image of the contracts as they are.
 * @param {string} image
 * @param {string} [folder]
 * @returns {Promise<Finding>}
 */
export const build = (image, folder = root) => buf(folder, ['build', 'proto', '--exclude-source-info', '-o', image]);

/**
 * Generates into another place and compares with gen/.
 * @param {string} [folder]
 * @returns {Promise<Finding>}
 */
export async function generated(folder = root) {
  const fresh = mkdtempSync(join(tmpdir(), 'tideway-gen-'));
  try {
    const generation = await buf(folder, ['generate', '--output', fresh]);
    if (!generation.ok) return generation;
    const differences = compare(join(fresh, 'gen'), join(folder, 'gen'));
    if (differences.length === 0) return { ok: true, output: '' };
    return { ok: false, output: `${differences.join('\n')}\nRun: npm run generate` };
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

/**
 * The images of releases in contracts/, oldest first.
 * @param {string} [folder]
 * @returns {{ number: number, path: string }[]}
 */
export function releases(folder = root) {
  const contracts = join(folder, 'contracts');
  return filesIn(contracts)
    .map((path) => ({ number: Number(/^tideway-v(\d+)\.binpb$/.exec(path)?.[1] ?? 0), path: join(contracts, path) }))
    .filter(({ number }) => number > 0)
    .sort((a, b) => a.number - b.number);
}

/**
 * @param {string} folder
 * @param {number} number
 */
export function releasePath(folder, number) {
  return join(folder, 'contracts', `tideway-v${number}.binpb`);
}

/**
 * @param {string} fresh
 * @param {string} committed
 */
function compare(fresh, committed) {
  const wanted = new Set(filesIn(fresh));
  const present = new Set(filesIn(committed));
  return [
    ...[...wanted].filter((path) => !present.has(path)).map((path) => `gen/${path} is missing`),
    ...[...present].filter((path) => !wanted.has(path)).map((path) => `gen/${path} has no contract`),
    ...[...wanted]
      .filter(
        (path) => present.has(path) && !readFileSync(join(fresh, path)).equals(readFileSync(join(committed, path))),
      )
      .map((path) => `gen/${path} is not what buf generates`),
  ].sort();
}

/**
 * @param {string} folder
 * @returns {string[]} Paths within it; none where it doesn't exist.
 */
function filesIn(folder) {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(relative(folder, entry.parentPath), entry.name));
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'ENOENT') return [];
    throw error;
  }
}

/**
 * @param {string} folder
 * @param {string[]} args
 */
async function buf(folder, args) {
  const { code, output } = await runCommand(join(programs, 'buf'), args, { cwd: folder });
  return { ok: code === 0, output };
}
