import { fork } from 'node:child_process';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { JsonApi } from '../test/support/json-api.ts';
import { startMonolith } from '../test/support/tideway.ts';
import { acceptedOf } from './events-outcomes.ts';
import { rssMb } from './events-threads.ts';
import type { Became, Hostility } from './hostile-requests.ts';

// `node bench/hostile-http.ts [count] [seed]`: mutated envelopes in mutated requests (encodings that lie, bodies that are cut,
// headers that are mangled) to the product in one process. It fails, with the seeds, where one is answered with a fault or not
// at all, where the process ends, or where its memory goes on growing; `… 1 <seed>` sends the same one again.

const COUNT = Number(process.argv[2] ?? 100_000);
const SEED = Number(process.argv[3] ?? Date.now() % 2 ** 31);
const CONNECTIONS = 32;
const ROUNDS = 10;
/** By when everything is compiled, and what is bounded by its size or its age is full. */
const SETTLED_ROUND = 5;
const MAX_GROWTH = 1.15;

const say = (text: string) => process.stdout.write(`${text}\n`);
const monolith = await startMonolith();
const { development, port, pid } = monolith;
let isDead = false;
void monolith.exited.then(() => {
  isDead = true;
});
const faults: string[] = [];
try {
  const dsn = new URL(development.dsn);
  say(`${COUNT} requests from seed ${SEED}, load average ${loadavg()[0]?.toFixed(1)}`);
  const statuses = new Map<string, number>();
  const sizes: number[] = [];
  const fromMs = performance.now();
  for (let round = 0; round < ROUNDS && !isDead; round++) {
    const from = Math.floor((COUNT * round) / ROUNDS);
    const count = Math.floor((COUNT * (round + 1)) / ROUNDS) - from;
    if (count === 0) continue;
    const key = { key: dsn.username, project: dsn.pathname.slice(1) };
    const became = await send({ ...key, port, seed: SEED + from, count, connections: CONNECTIONS });
    for (const [status, some] of Object.entries(became.statuses)) {
      statuses.set(status, (statuses.get(status) ?? 0) + some);
    }
    faults.push(...became.badSeeds);
    await delay(1_000);
    if (!isDead) sizes.push(rssMb(pid));
    const so = [...statuses].map(([status, some]) => `${some} × ${status}`);
    say(`${from + count}: ${sizes.at(-1)?.toFixed(0)} MB, ${so.join(', ')}, ${faults.length} faults`);
  }
  const all = [...statuses].sort(([, a], [, b]) => b - a).map(([status, count]) => `${count} × ${status}`);
  say(`answered ${all.join(', ')}; ${Math.round(COUNT / ((performance.now() - fromMs) / 1_000))}/s`);
  if (isDead) faults.push('the process ended');
  else {
    const settled = Math.max(...sizes.slice(0, SETTLED_ROUND));
    if ((sizes.at(-1) ?? 0) > settled * MAX_GROWTH) faults.push(`memory grew beyond ${settled.toFixed(0)} MB`);
    const api = new JsonApi(`http://127.0.0.1:${port}`, development.api_token);
    const { accepted, others } = await acceptedOf(api, development.organization);
    say(`${accepted} accepted, ${others} have another outcome`);
  }
  const said = monolith
    .output()
    .split('\n')
    .filter((line) => line !== '');
  say(`it said ${said.length} lines`);
  for (const line of said.slice(0, 5)) say(`  ${line.slice(0, 300)}`);
} finally {
  await monolith.stop();
}
if (faults.length > 0) {
  for (const fault of faults) say(`FAULT ${fault}`);
  process.exitCode = 1;
}

async function send(hostility: Hostility): Promise<Became> {
  const sender = fork(join(import.meta.dirname, 'hostile-requests.ts'));
  sender.send(hostility);
  return new Promise((resolve, reject) => {
    let last: Became | undefined;
    sender.on('message', (became: Became) => {
      last = became;
      if (!became.isOver) return;
      sender.disconnect();
      resolve(became);
    });
    sender.on('exit', () => reject(new Error(`the sender ended after ${last?.done ?? 0}`)));
  });
}
