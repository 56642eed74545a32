// @ts-check
// `npm test`: everything, on a fresh clone, with real Redis, PostgreSQL, Kafka, Envoy and Chromium. Installs what it needs. A step that
// fails stops none of the others.
import { ensureEnvoy } from './lib/envoy.mjs';
import { Failure, run } from './lib/failure.mjs';
import { ensureKafka } from './lib/kafka.mjs';
import { requireMachine } from './lib/machine.mjs';
import { ensurePackages } from './lib/packages.mjs';
import { ensureSystemPrograms } from './lib/system-programs.mjs';
import { check, tests } from './lib/test-steps.mjs';

/** @typedef {import('./lib/test-steps.mjs').Step} Step */

/**
 * Stages one after the other, the lanes of a stage beside each other, the steps of a lane one after the other. The story
 * tests mostly wait, for processes that start and for time that passes: what works beside them takes the cores meanwhile. Unit
 * tests would only be slowed down by that, and are the first that a developer wants to know of.
 * @type {readonly (readonly (readonly Step[])[])[]}
 */
const stages = [
  [
    [check('contracts', 'node', 'scripts/contracts-check.mjs')],
    [check('style', 'biome', 'ci')],
    [check('types', 'tsc', '-p', '.'), check('types of the page', 'tsc', '-p', 'console')],
    [check('architecture', 'node', 'scripts/check-architecture.mjs')],
  ],
  [[tests('unit tests', 'unit')]],
  [
    [tests('story tests through real Envoy', 'flows')],
    [
      tests('fast paths beside the generated code', 'conformance'),
      tests('suites on SQLite, with threads and kills, and of memory', 'sqlite'),
      tests('broker suites on real Redis', 'redis'),
    ],
    [tests('store suites on real PostgreSQL', 'postgres'), tests('log suites on real Kafka', 'kafka')],
  ],
  // Alone: it breaks a whole deployment in a few seconds, and has to see it recover in as few.
  [[tests('failure tests, their short form', 'chaos')]],
];

async function main() {
  if (process.argv.length > 2)
    throw new Failure('npm test runs everything, and takes no arguments: the parts are in CONTRIBUTING.md');
  requireMachine();
  await ensureEnvoy();
  await ensurePackages();
  await ensureSystemPrograms();
  await ensureKafka();

  const results = [];
  for (const stage of stages) {
    const lanes = await Promise.all(stage.map((lane) => runLane(lane, stage.length === 1)));
    results.push(...lanes.flat());
  }

  process.stdout.write('\n');
  for (const { name, passed, failed, tookSec } of results) {
    const counts = passed + failed > 1 ? `  ${passed} passed, ${failed} failed` : '';
    process.stdout.write(`${failed === 0 ? '✓' : '✗'} ${name}, ${tookSec.toFixed(1)} s${counts}\n`);
  }
  const passed = results.reduce((sum, result) => sum + result.passed, 0);
  const failed = results.reduce((sum, result) => sum + result.failed, 0);
  process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
  if (failed > 0) process.exitCode = 1;
}

/**
 * @param {readonly Step[]} steps
 * @param {boolean} isAlone
 */
async function runLane(steps, isAlone) {
  const results = [];
  for (const { name, run: runIt } of steps) {
    process.stdout.write(`\n▶ ${name}\n`);
    const startMs = performance.now();
    const count = await runIt(isAlone);
    results.push({ name, ...count, tookSec: (performance.now() - startMs) / 1_000 });
  }
  return results;
}

await run('test', main);
