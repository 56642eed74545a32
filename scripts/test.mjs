// @ts-check
// `npm test`: everything, on a fresh clone, with real Redis, PostgreSQL, Kafka, Envoy and Chromium. Installs what it needs. A step that
// fails stops none of the others.
import { ensureEnvoy } from './lib/envoy.mjs';
import { run } from './lib/failure.mjs';
import { ensureKafka } from './lib/kafka.mjs';
import { requireMachine } from './lib/machine.mjs';
import { ensurePackages } from './lib/packages.mjs';
import { ensureSystemPrograms } from './lib/system-programs.mjs';
import { check, tests } from './lib/test-steps.mjs';

/** @typedef {import('./lib/test-steps.mjs').Step} Step */

/**
 * Stages one after the other; the steps of a stage at once, as each of them mostly waits, for servers or a single core.
 * @type {readonly (readonly Step[])[]}
 */
const stages = [
  [
    check('contracts', 'node', 'scripts/contracts-check.mjs'),
    check('style', 'biome', 'ci'),
    check('types', 'tsc', '-p', '.'),
    check('types of the page', 'tsc', '-p', 'console'),
    check('architecture', 'node', 'scripts/check-architecture.mjs'),
  ],
  [tests('unit tests', 'unit')],
  [tests('suites on SQLite, with threads and kills', 'sqlite'), tests('log suites on real Kafka', 'kafka')],
  [
    tests('fast paths beside the generated code', 'conformance'),
    tests('broker suites on real Redis', 'redis'),
    tests('store suites on real PostgreSQL', 'postgres'),
  ],
  [tests('story tests through real Envoy', 'flows')],
  [tests('failure tests, their short form', 'chaos')],
];

async function main() {
  requireMachine();
  await ensureEnvoy();
  await ensurePackages();
  await ensureSystemPrograms();
  await ensureKafka();

  const results = [];
  for (const stage of stages) {
    process.stdout.write(`\n${stage.map(({ name }) => `▶ ${name}`).join('\n')}\n`);
    results.push(...(await Promise.all(stage.map((step) => runStep(step, stage.length === 1)))));
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
 * @param {Step} step
 * @param {boolean} isAlone
 */
async function runStep({ name, run: runIt }, isAlone) {
  const startMs = performance.now();
  const count = await runIt(isAlone);
  return { name, ...count, tookSec: (performance.now() - startMs) / 1_000 };
}

await run('test', main);
