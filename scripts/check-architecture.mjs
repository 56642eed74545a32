// @ts-check
// `npm run architecture`: who imports whom. Cycles are Biome's to find.
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { checkArchitecture } from './lib/architecture.mjs';
import { Failure, run } from './lib/failure.mjs';
import { root } from './lib/project.mjs';

const rooms = ['gen', 'lib', 'services', 'client', 'console', 'cli', 'envoy', 'scripts', 'test', 'bench'];

async function main() {
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const { modules, imports, violations } = checkArchitecture(
    rooms.flatMap(modulesOf),
    new Set(Object.keys(dependencies)),
  );
  for (const violation of violations) process.stdout.write(`✗ ${violation}\n`);
  // A reader that reads nothing finds nothing wrong.
  if (modules === 0 || imports === 0)
    throw new Failure(`read ${modules} modules and ${imports} imports: nothing to check`);
  if (violations.length > 0) throw new Failure(`${violations.length} imports or reads go where they must not`);
  process.stdout.write(`✓ ${modules} modules with ${imports} imports keep to their rooms\n`);
}

/** @param {string} room */
function modulesOf(room) {
  return filesIn(join(root, room))
    .filter((path) => /\.(ts|tsx|mts|js|mjs)$/.test(path))
    .map((path) => ({ path: relative(root, path).split(sep).join('/'), source: readFileSync(path, 'utf8') }));
}

/**
 * @param {string} folder
 * @returns {string[]}
 */
function filesIn(folder) {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
  } catch (error) {
    // Not every room is built yet.
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'ENOENT') return [];
    throw error;
  }
}

await run('architecture', main);
