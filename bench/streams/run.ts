import { execFileSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { type Scenario, scenarios } from './scenarios.ts';
import { startSystem } from './systems.ts';
import { machineLine, Table } from './table.ts';

const USAGE = `npm run bench [-- --only=sse,publish] [--seconds=10] [--listeners=1000] [--rounds=1]

What a delivery, a publish and an idle listener cost on this machine, beside a bare loop of node:http in the same run.
Starts and ends everything by itself. --only takes: ${names().join(', ')}
`;

const values = readOptions();

// Interrupted, it ends as it does by itself, so that what it has started ends with it.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));

const size = { seconds: number('seconds'), listeners: number('listeners') };
const rounds = number('rounds');
const chosen = choose(values.only);
const table = new Table(chosen, size);
const machine = machineLine();
if (!hasRedis()) process.stderr.write('redis-server is not installed: what runs on Redis is left out\n');
for (let round = 1; round <= rounds; round++) {
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
  const wanted = new Set(only.split(','));
  const unknown = [...wanted].find((name) => !names().includes(name));
  if (unknown !== undefined) return refuse(`there is no ${unknown} to measure`);
  for (const { name, beside } of scenarios) if (wanted.has(name) && beside !== undefined) wanted.add(beside);
  return scenarios.filter(({ name, group = '' }) => wanted.has(name) || wanted.has(group));
}

/** Of scenarios, and of groups of them. */
function names(): string[] {
  return [...new Set(scenarios.flatMap(({ name, group }) => [name, ...(group === undefined ? [] : [group])]))];
}

function readOptions() {
  try {
    const { values: read } = parseArgs({
      options: {
        only: { type: 'string' },
        seconds: { type: 'string', default: '10' },
        listeners: { type: 'string', default: '1000' },
        rounds: { type: 'string', default: '1' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    if (!read.help) return read;
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error));
  }
  process.stdout.write(USAGE);
  process.exit(0);
}

function number(option: 'seconds' | 'listeners' | 'rounds'): number {
  const value = Number(values[option]);
  return Number.isInteger(value) && value > 0 ? value : refuse(`--${option} takes a whole number`);
}

function refuse(problem: string): never {
  process.stderr.write(`${problem}\n\n${USAGE}`);
  process.exit(2);
}

function hasRedis(): boolean {
  try {
    execFileSync('redis-server', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
