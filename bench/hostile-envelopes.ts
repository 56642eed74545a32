import { performance } from 'node:perf_hooks';
import process from 'node:process';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { checkItems, DEFAULT_ENVELOPE_LIMITS } from '../services/relay/envelope-limits.ts';
import { parseEnvelope } from '../services/relay/envelope-parse.ts';
import { EnvelopeRefusal } from '../services/relay/envelope-refusal.ts';
import { processEnvelope } from '../services/relay/processing/judge.ts';
import { inputOf, RECEIVED_MS } from '../services/relay/processing/testing.ts';
import type { Processed } from '../services/relay/processing.ts';
import { hostileEnvelope } from './lib/hostile-envelope.ts';

// `node bench/hostile-envelopes.ts [count] [seed]`: real-like envelopes, mutated, through the endpoint's parser and all of
// processing, in one process. An exception, a fault of ours, an event without what every event has, one that takes a second of CPU,
// or memory that grows ends it with the seed of that envelope: `… 1 <seed>` does the same one again.

const COUNT = Number(process.argv[2] ?? 1_000_000);
const SEED = Number(process.argv[3] ?? Date.now() % 2 ** 31);
const MAX_MS = 1000;
const ROUNDS = 10;
const MAX_GROWTH_BYTES = 4 * 1024 * 1024;
const ALWAYS = ['event_id', 'type', 'level', 'platform', 'timestamp', 'received'];

const FILTERS = {
  browserExtensions: true,
  webCrawlers: true,
  localhost: true,
  legacyBrowsers: ['default', 'ie', 'chrome'],
  clientIps: ['10.0.0.0/8', '2001:db8::/32'],
  errorMessages: ['*{a,b}*[c-z]??*never*', '*\\*'],
  releases: ['0.*'],
  cspDisallowedSources: ['*.evil.com', 'chrome-extension://*'],
  transactions: ['/health*'],
};
const { project, sender } = inputOf([], { filters: FILTERS, sender: { client: 'sentry.python/2.20.0' } });

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const results = new Map<string, number>();
let slowestMs = 0;
let slowestSeed = SEED;
let settledBytes = 0;
process.stdout.write(`${COUNT} envelopes from seed ${SEED}\n`);
const fromMs = performance.now();
for (let round = 0; round < ROUNDS; round++) {
  const from = Math.floor((COUNT * round) / ROUNDS);
  const to = Math.floor((COUNT * (round + 1)) / ROUNDS);
  for (let index = from; index < to; index++) tryOne(SEED + index);
  // Buffers go behind the collector, when this turn ends.
  collect();
  await setImmediate();
  collect();
  const { heapUsed, external, rss } = process.memoryUsage();
  const bytes = heapUsed + external;
  // What is compiled and cached is there after the first rounds.
  if (round === 1) settledBytes = bytes;
  process.stdout.write(`${to}: ${mega(bytes)} MB held, ${mega(rss)} MB of the machine's\n`);
  if (round > 1 && bytes > settledBytes + MAX_GROWTH_BYTES)
    fail(SEED, `memory grew by ${mega(bytes - settledBytes)} MB`);
}
const perEnvelopeUs = ((performance.now() - fromMs) * 1000) / COUNT;
process.stdout.write(
  `${perEnvelopeUs.toFixed(0)} µs each, mutating included; the slowest ${slowestMs.toFixed(0)} ms (seed ${slowestSeed})\n`,
);
for (const [name, count] of [...results].sort(([, a], [, b]) => b - a)) process.stdout.write(`  ${name}: ${count}\n`);

function tryOne(seed: number): void {
  const body = hostileEnvelope(seed, RECEIVED_MS);
  const from = process.threadCpuUsage();
  try {
    const { envelope } = parseEnvelope(body);
    checkItems(envelope.items, DEFAULT_ENVELOPE_LIMITS);
    check(seed, processEnvelope({ envelope, sender, project }));
  } catch (error) {
    if (!(error instanceof EnvelopeRefusal)) fail(seed, error instanceof Error ? `${error.stack}` : String(error));
    count(`refused by the endpoint: ${error.reason}`);
  }
  const { user, system } = process.threadCpuUsage(from);
  const tookMs = (user + system) / 1000;
  if (tookMs > slowestMs) [slowestMs, slowestSeed] = [tookMs, seed];
  if (tookMs > MAX_MS) fail(seed, `it took ${tookMs.toFixed(0)} ms`);
}

function check(seed: number, { events, refused }: Processed): void {
  for (const { payload } of events) {
    const event = JSON.parse(Buffer.from(payload).toString());
    for (const key of ALWAYS)
      if (event[key] === undefined || event[key] === null) fail(seed, `an event without ${key}`);
    count(`event: ${event.type}`);
  }
  for (const { outcome, reason } of refused) {
    if (reason === 'internal') fail(seed, 'a fault of ours');
    count(outcome === 'client_discard' || outcome === 'rate_limited' ? outcome : `${outcome}: ${reason}`);
  }
  if (Object.keys(Object.prototype).length > 0) fail(seed, 'every object was changed');
}

function count(name: string): void {
  results.set(name, (results.get(name) ?? 0) + 1);
}

function fail(seed: number, why: string): never {
  process.stdout.write(`seed ${seed}: ${why}\n`);
  process.exit(1);
}

function mega(bytes: number): string {
  return (bytes / 1024 / 1024).toFixed(1);
}
