import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { GROUPS, INGEST_TOPICS } from '#lib/ingest/topics.ts';
import { openLog } from '#lib/log/open-log.ts';
import { startEdge } from '../test/support/edge.ts';
import { startEventsDeployment } from '../test/support/events-deployment.ts';
import { JsonApi } from '../test/support/json-api.ts';
import { startMonolith } from '../test/support/tideway.ts';
import type { Answers, Load } from './events-load.ts';
import { acceptedOf } from './events-outcomes.ts';
import { between, rssMb, threadsOf } from './events-threads.ts';

// `node bench/events-intake.ts [--seconds 20] [--rate 1000] [--connections 32] [--gzip] [bare] [direct] [edge] [apart]`: events of
// 1.3 KB over HTTP into the product in one process, from a generator in another: how they are answered, what they cost each
// thread, and whether what is behind keeps up: all of it must be stored at the end, and little must wait in the log when the
// last one is answered. `bare` is node:http alone, in the same run; `apart` is a relay as a process of its own, that appends to
// Kafka, and consumers that save to PostgreSQL. A rate of 0 sends as fast as it is answered.

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '20' },
    rate: { type: 'string', default: '1000' },
    connections: { type: 'string', default: '32' },
    gzip: { type: 'boolean', default: false },
  },
});
const SECONDS = Number(values.seconds);
const RATE = Number(values.rate);
const WARM_UP_SECONDS = 5;
const STORED_DEADLINE_MS = 120_000;
const PARTS = positionals.length > 0 ? positionals : ['bare', 'direct', 'edge'];

const common = { host: '127.0.0.1', connections: Number(values.connections), gzip: values.gzip };
const generator = fork(join(import.meta.dirname, 'events-load.ts'));
const say = (text: string) => process.stdout.write(`${text}\n`);
say(
  `load average ${loadavg()
    .map((load) => load.toFixed(1))
    .join(' ')}`,
);

if (PARTS.includes('bare')) await bare();
if (PARTS.includes('direct')) await product(false);
if (PARTS.includes('edge')) await product(true);
if (PARTS.includes('apart')) await apart();
generator.disconnect();

async function bare(): Promise<void> {
  const server = fork(join(import.meta.dirname, 'events-bare.ts'));
  const [port] = (await once(server, 'message')) as [number];
  const load: Load = { ...common, port, path: '/api/1/envelope/', seconds: SECONDS, ratePerSec: RATE };
  await send({ ...load, seconds: WARM_UP_SECONDS });
  const before = threadsOf(pidOf(server));
  const answers = await send(load);
  report('node:http alone', answers);
  reportCpu(pidOf(server), before, answers.sent);
  server.disconnect();
}

async function product(throughEdge: boolean): Promise<void> {
  const monolith = await startMonolith();
  const { development, dir, port, pid } = monolith;
  const ports = [port];
  const edge = throughEdge
    ? await startEdge({
        publish: ports,
        stream: ports,
        control: ports,
        config: ports,
        events: ports,
        relay: ports,
        web: ports,
      })
    : undefined;
  const log = await openLog({ dataDir: dir });
  try {
    const api = new JsonApi(`http://127.0.0.1:${port}`, development.api_token);
    const dsn = new URL(development.dsn);
    const key = `sentry_version=7&sentry_key=${dsn.username}&sentry_client=sentry.javascript.node%2F10.20.0`;
    const path = `/api${dsn.pathname}/envelope/?${key}`;
    const load: Load = { ...common, port: edge?.port ?? port, path, seconds: SECONDS, ratePerSec: RATE };
    const warm = await send({ ...load, seconds: WARM_UP_SECONDS });
    const lag = () => log.lag(GROUPS.events, INGEST_TOPICS);
    await drained(lag);
    const before = threadsOf(pid);
    const fromMs = performance.now();
    const looks: string[] = [];
    const looking = setInterval(() => void lag().then((waits) => looks.push(String(waits))), 5_000);
    const answers = await send(load);
    clearInterval(looking);
    const left = await lag();
    await drained(lag);
    const took = (performance.now() - fromMs) / 1_000;
    report(throughEdge ? 'through Envoy' : 'direct', answers);
    say(`  the log's lag each 5 s: ${looks.join(' ')}; with the last answer ${left}`);
    const { accepted, others } = await acceptedOf(api, development.organization);
    const taken = (answers.statuses['200'] ?? 0) + (warm.statuses['200'] ?? 0);
    say(
      `  stored ${accepted} of ${taken} answered 200, ${others} otherwise; ${Math.round((answers.statuses['200'] ?? 0) / took)} stored/s to the last one`,
    );
    reportCpu(pid, before, answers.sent);
  } finally {
    await log.close();
    await edge?.stop();
    // With `node --cpu-prof`, whose profiles are written at an orderly end.
    monolith.kill('SIGTERM');
    await monolith.exited;
    await monolith.stop();
  }
}

async function apart(): Promise<void> {
  const deployment = await startEventsDeployment();
  try {
    const { relays, consumers, api } = deployment;
    const [relay, consumer] = [relays[0], consumers[0]];
    if (relay === undefined || consumer === undefined) throw new Error('it did not start');
    const { id, key } = await deployment.newProject('bench');
    const path = `/api/${id}/envelope/?sentry_version=7&sentry_key=${key}&sentry_client=sentry.javascript.node%2F10.20.0`;
    const load: Load = { ...common, port: relay.port, path, seconds: SECONDS, ratePerSec: RATE };
    const warm = await send({ ...load, seconds: WARM_UP_SECONDS });
    const relayBefore = threadsOf(relay.pid);
    const consumerBefore = threadsOf(consumer.pid);
    const answers = await send(load);
    report('relay apart', answers);
    reportCpu(relay.pid, relayBefore, answers.sent);
    const taken = (answers.statuses['200'] ?? 0) + (warm.statuses['200'] ?? 0);
    const fromMs = performance.now();
    let accepted = 0;
    while (accepted < taken && performance.now() - fromMs < STORED_DEADLINE_MS) {
      await new Promise((resolve) => setTimeout(resolve, 250));
      const { totals = [] } = await api.fetch('GET', '/v1/organizations/shop/outcomes');
      accepted = Number(totals.find(({ outcome }: { outcome: string }) => outcome === 'accepted')?.quantity ?? 0);
    }
    say(
      `  stored ${accepted} of ${taken} answered 200, the last one after ${(performance.now() - fromMs).toFixed(0)} ms`,
    );
    say('  and its consumers:');
    reportCpu(consumer.pid, consumerBefore, answers.sent);
  } finally {
    await deployment.stop();
  }
}

/** Until the consumers have all that was appended. */
async function drained(lag: () => Promise<bigint>): Promise<void> {
  const untilMs = performance.now() + STORED_DEADLINE_MS;
  // What was answered may be on its way to the log.
  await new Promise((resolve) => setTimeout(resolve, 100));
  while ((await lag()) > 0n) {
    if (performance.now() > untilMs) throw new Error('the consumers do not get to the end');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function send(load: Load): Promise<Answers> {
  generator.send(load);
  const [answers] = (await once(generator, 'message')) as [Answers];
  return answers;
}

function report(name: string, { sent, seconds, statuses, p50Ms, p99Ms, maxMs, cpuUs }: Answers): void {
  const all = Object.entries(statuses).map(([status, count]) => `${count} × ${status}`);
  say(`${name}: ${Math.round(sent / seconds)}/s for ${seconds.toFixed(0)} s, ${all.join(', ')}`);
  say(
    `  answers p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms.toFixed(2)} ms, max ${maxMs.toFixed(0)} ms; the generator ${(cpuUs / sent).toFixed(0)} µs each`,
  );
}

function reportCpu(pid: number, before: ReturnType<typeof threadsOf>, events: number): void {
  const threads = [...between(before, threadsOf(pid))]
    .filter(([, us]) => us / events >= 0.5)
    .sort(([, a], [, b]) => b - a);
  const sum = threads.reduce((all, [, us]) => all + us, 0);
  const each = threads.map(([name, us]) => `${name} ${(us / events).toFixed(1)}`);
  say(`  ${(sum / events).toFixed(1)} µs CPU an event: ${each.join(', ')}; ${rssMb(pid).toFixed(0)} MB`);
  say(`  load average ${loadavg()[0]?.toFixed(1)}`);
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error('it did not start');
  return child.pid;
}
