import { randomInt } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { FLAWLESS } from './judge.ts';
import { type Report, runChaos, type Topology } from './run.ts';

// `npm run test:chaos` with CHAOS_SEED, CHAOS_SECONDS and CHAOS_TOPOLOGY; without any of them, as in `npm test`, it is short.
const { CHAOS_SEED, CHAOS_SECONDS, CHAOS_TOPOLOGY } = process.env;
const SHORT_SECONDS = 8;
const seconds = Number(CHAOS_SECONDS ?? SHORT_SECONDS);
const topologies = (CHAOS_TOPOLOGY?.split(',') ?? ['single', 'sentinel', 'cluster']) as Topology[];
// Streams end, servers stop, and the machine may be busy.
const DEADLINE_MS = seconds * 1_000 + 240_000;

async function run(topology: Topology, env: Readonly<Record<string, string>> = {}): Promise<Report> {
  const seed = CHAOS_SEED === undefined ? randomInt(2 ** 31) : Number(CHAOS_SEED);
  const name = `${topology}${Object.keys(env).length === 0 ? '' : ` with ${JSON.stringify(env)}`}`;
  const say = (line: string) => void process.stdout.write(`chaos, ${name}: ${line}\n`);
  say(`CHAOS_SEED=${seed} CHAOS_SECONDS=${seconds} CHAOS_TOPOLOGY=${topology}`);
  return runChaos({ topology, seed, seconds, env, say });
}

function expectFlawless({ verdict, flaws, trouble, counts }: Report): void {
  expect({ verdict, flaws, unexpected: trouble.unexpected }).toEqual({ verdict: FLAWLESS, flaws: [], unexpected: [] });
  expect(counts.acknowledged).toBeGreaterThan(0);
  expect(counts.received).toBeGreaterThan(counts.acknowledged);
}

describe('everything breaks, and what Redis still has reaches everybody once and in order', () => {
  for (const topology of topologies) {
    test(topology, { timeout: DEADLINE_MS }, async () => {
      const report = await run(topology);
      expectFlawless(report);
      // One server with appendonly that is killed has everything that it acknowledged.
      if (topology === 'single') expect(report.counts).toMatchObject({ redisLost: 0, takenBack: 0 });
    });
  }
});

describe('with appendonly and PUBLISH_WAIT_REPLICAS=1 Redis loses nothing that was acknowledged', () => {
  for (const topology of topologies.filter((name) => name !== 'single')) {
    test(`${topology}, replicated`, { timeout: DEADLINE_MS }, async () => {
      const report = await run(topology, { PUBLISH_WAIT_REPLICAS: '1' });
      expectFlawless(report);
      expect(report.counts.redisLost).toBe(0);
    });
  }
});
