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

/** @type {readonly Step[]} */
const steps = [
  check('contracts', 'node', 'scripts/contracts-check.mjs'),
  check('style', 'biome', 'ci'),
  check('types', 'tsc', '-p', '.'),
  check('types of the page', 'tsc', '-p', 'console'),
  check('architecture', 'node', 'scripts/check-architecture.mjs'),
  tests('unit tests', 'unit'),
  tests('suites on SQLite, with threads and kills', 'sqlite'),
  tests('fast paths beside the generated code', 'conformance'),
  tests('broker suites on real Redis', 'redis'),
  tests('store suites on real PostgreSQL', 'postgres'),
  tests('log suites on real Kafka', 'kafka'),
  tests('story tests through real Envoy', 'flows'),
  tests('failure tests, their short form', 'chaos'),
];

async function main() {
  requireMachine();
  await ensureEnvoy();
  await ensurePackages();
  await ensureSystemPrograms();
  await ensureKafka();

  const results = [];
  for (const step of steps) {
    process.stdout.write(`\n▶ ${step.name}\n`);
    const startMs = performance.now();
    const count = await step.run();
    results.push({ name: step.name, ...count, tookSec: (performance.now() - startMs) / 1_000 });
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

await run('test', main);
