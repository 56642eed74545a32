// @ts-check
import { dirname, join } from 'node:path/posix';

/**
 * The rules of who may import whom, and what they are for: a room can be understood, tested and replaced without those
 * above it. A room is a folder of the project's root; within lib and services it is a folder of theirs.
 *
 * @typedef {{ readonly path: string, readonly source: string }} Module `path` from the project's root, with slashes.
 * @typedef {{ modules: number, imports: number, violations: string[] }} Findings
 */

/** @type {Readonly<Record<string, readonly string[]>>} Besides itself. A folder's name stands for all rooms in it. */
const mayImport = {
  gen: [],
  // Published by themselves, one day.
  'lib/grpc-health': ['gen'],
  'lib/grpc-reflection': ['gen'],
  lib: ['gen', 'lib'],
  'services/monolith': ['gen', 'lib', 'services'],
  services: ['gen', 'lib'],
  client: ['gen'],
  console: ['client'],
  cli: ['gen', 'lib', 'client'],
  envoy: ['gen', 'lib'],
  scripts: [],
};

/** Rooms that hold others to account, and may look anywhere. */
const outside = ['test', 'bench'];

/** Rooms that run with what `npm ci --omit=dev` installs. */
const shipped = ['lib', 'services', 'cli', 'envoy'];

/**
 * @param {readonly Module[]} modules
 * @param {ReadonlySet<string>} dependencies The packages that a deployment has.
 * @returns {Findings}
 */
export function checkArchitecture(modules, dependencies) {
  const read = modules.map(({ path, source }) => {
    const code = withoutComments(source);
    return { path, code, imports: importsOf(code) };
  });
  const tests = new Set(read.filter(isTest).map(({ path }) => path));
  /** @type {string[]} */
  const violations = [];
  for (const { path, code, imports } of read) {
    if (tests.has(path) || outside.includes(roomOf(path))) continue;
    for (const specifier of imports) {
      const problem = isInternal(specifier)
        ? internalProblem(path, specifier, tests)
        : packageProblem(path, specifier, dependencies);
      if (problem) violations.push(`${path} imports ${specifier}: ${problem}`);
    }
    if (/\bprocess\s*\.\s*env\b/.test(code) && !mayReadEnvironment(path)) {
      violations.push(`${path} reads process.env: only a program's main file does`);
    }
  }
  return { modules: read.length, imports: read.reduce((sum, { imports }) => sum + imports.length, 0), violations };
}

/**
 * Tests, and the suites, models and harnesses that they share: by their names, or because they use a test's tools. No program
 * is one.
 * @param {{ path: string, imports: string[] }} module
 */
function isTest({ path, imports }) {
  if (isProgram(path)) return false;
  const tools = (/** @type {string} */ specifier) => /^(vitest|fast-check)$|^(\.\.\/)+test\//.test(specifier);
  return /\.test\.\w+$|[-/](testing|fixtures?)\.ts$/.test(path) || imports.some(tools);
}

/** @param {string} specifier */
function isInternal(specifier) {
  return specifier.startsWith('.') || specifier.startsWith('#');
}

/**
 * @param {string} importer
 * @param {string} specifier
 * @param {ReadonlySet<string>} tests
 */
function internalProblem(importer, specifier, tests) {
  const isRelative = specifier.startsWith('.');
  const target = isRelative ? join(dirname(importer), specifier) : specifier.slice(1);
  const from = roomOf(importer);
  const to = roomOf(target);
  if (isProgram(target)) return 'a program is started, never imported';
  if (tests.has(target)) return 'only tests import tests';
  if (from === to) return isRelative ? undefined : 'within a room imports are relative';
  const allowed = mayImport[from] ?? mayImport[topOf(from)] ?? [];
  if (!allowed.includes(to) && !allowed.includes(topOf(to))) return `${from} must not know ${to}`;
  // The client is published with a copy of what it needs, and #-imports end at its own package.json.
  if (isRelative && from !== 'client' && ['gen', 'lib'].includes(topOf(to)))
    return `from another room it is #${target}`;
  return undefined;
}

/**
 * @param {string} importer
 * @param {string} specifier
 * @param {ReadonlySet<string>} dependencies
 */
function packageProblem(importer, specifier, dependencies) {
  if (specifier.startsWith('node:') || !shipped.includes(topOf(roomOf(importer)))) return undefined;
  const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
  return dependencies.has(name) ? undefined : `${name} is not among the dependencies of package.json`;
}

/** @param {string} path */
function roomOf(path) {
  const [top = '', folder = ''] = path.split('/');
  return top === 'services' || top === 'lib' ? `${top}/${folder}` : top;
}

/** @param {string} room */
function topOf(room) {
  return room.split('/')[0] ?? '';
}

/** @param {string} path */
function mayReadEnvironment(path) {
  return isProgram(path) || /^(scripts|test|bench)\//.test(path);
}

/** @param {string} path */
function isProgram(path) {
  return /^(services\/[^/]+\/main|cli\/(publish|listen|admin|store|outcomes)|envoy\/render)\.ts$/.test(path);
}

/**
 * Static imports, exports from elsewhere, and import() of a literal.
 * @param {string} code
 */
function importsOf(code) {
  const pattern = /(?:^|[;}\n])\s*(?:import|export)\b[^'";]*?\bfrom\s*(['"])(.+?)\1|\bimport\s*\(?\s*(['"])(.+?)\3/g;
  return [...code.matchAll(pattern)].map((match) => match[2] ?? match[4] ?? '');
}

/** @param {string} source */
function withoutComments(source) {
  return source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1');
}
