import { execFileSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { type Scenario, scenarios } from './scenarios.ts';
import { startSystem } from './systems.ts';
import { machineLine, Table } from './table.ts';

// `npm run bench [-- --only=sse,publish] [--seconds=10] [--listeners=1000] [--rounds=1]`: what a delivery, a publish and an
// idle listener cost on this machine, beside a bare loop of node:http in the same run. Starts and ends everything by itself.

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    seconds: { type: 'string', default: '10' },
    listeners: { type: 'string', default: '1000' },
    rounds: { type: 'string', default: '1' },
  },
});

// Interrupted, it ends as it does by itself, so that what it has started ends with it.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));

const size = { seconds: Number(values.seconds), listeners: Number(values.listeners) };
const chosen = choose(values.only);
const table = new Table(chosen, size);
const machine = machineLine();
if (!hasRedis()) process.stderr.write('redis-server is not installed: what runs on Redis is left out\n');
for (let round = 1; round <= Number(values.rounds); round++) {
  for (const scenario of chosen) {
    if (scenario.system.startsWith('redis') && !hasRedis()) continue;
    process.stderr.write(`${scenario.name.padEnd(22)}`);
    try {
      await using system = await startSystem(scenario.system, scenario);
      const { measure } = scenario;
      if (measure.kind === 'idle') process.stderr.write(table.addIdle(scenario, await measure.run(system, size)));
      else process.stderr.write(table.add(scenario, await measure.run(system, size)));
    } catch (error) {
      // The others can still be measured.
      process.stderr.write(`failed: ${error instanceof Error ? error.message : String(error)}\n`);
      process.exitCode = 1;
    }
  }
}
process.stdout.write(`\n${table.toMarkdown()}\n${machine}\n`);

/** By name; with each what it is set beside. */
function choose(only: string | undefined): readonly Scenario[] {
  if (only === undefined) return scenarios.filter(({ group }) => group === undefined);
  const names = new Set(only.split(','));
  for (const { name, beside } of scenarios) if (names.has(name) && beside !== undefined) names.add(beside);
  const known = new Set(scenarios.flatMap(({ name, group }) => [name, ...(group === undefined ? [] : [group])]));
  if ([...names].every((name) => known.has(name)))
    return scenarios.filter(({ name, group = '' }) => names.has(name) || names.has(group));
  process.stderr.write(`--only takes ${[...known].join(', ')}\n`);
  process.exit(1);
}

function hasRedis(): boolean {
  try {
    execFileSync('redis-server', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
