import { randomInt } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { FLAWLESS } from './judge.ts';
import { type Report, runChaos, type Topology } from './run.ts';

// `npm run test:chaos`, with CHAOS_SECONDS for each run, and CHAOS_SEED and CHAOS_TOPOLOGY as a run has printed them. A
// seed says what is broken when, and what streams and listeners do; what they meet is up to the machine.
const { CHAOS_SEED, CHAOS_SECONDS, CHAOS_TOPOLOGY } = process.env;
/** As in `npm test`: two runs beside each other. */
const isShort = CHAOS_SECONDS === undefined;
/** `npm test` breaks the same each time: what it finds is in the change. Other seeds are for long runs. */
const SHORT_SEED = 1_199_697_528;
const seconds = Number(CHAOS_SECONDS ?? 8);
const topologies = (CHAOS_TOPOLOGY?.split(',') ?? ['single', 'sentinel', 'cluster']) as Topology[];
// Streams end, servers stop, and the machine may be busy.
const options = { timeout: seconds * 1_000 + 240_000, concurrent: isShort };

async function run(
  topology: Topology,
  redisLosesNothing: boolean,
  env: Readonly<Record<string, string>> = {},
): Promise<Report> {
  const seed = Number(CHAOS_SEED ?? (isShort ? SHORT_SEED : randomInt(2 ** 31)));
  const name = [topology, ...Object.entries(env).map(([setting, value]) => `${setting}=${value}`)].join(', ');
  const say = (line: string) => void process.stdout.write(`chaos, ${name}: ${line}\n`);
  say(`CHAOS_SEED=${seed} CHAOS_SECONDS=${seconds} CHAOS_TOPOLOGY=${topology}`);
  return runChaos({ topology, seed, seconds, redisLosesNothing, env, say });
}

function expectFlawless({ verdict, flaws, trouble, counts }: Report): void {
  expect({ verdict, flaws, unexpected: trouble.unexpected }).toEqual({ verdict: FLAWLESS, flaws: [], unexpected: [] });
  expect(counts.acknowledged).toBeGreaterThan(0);
  expect(counts.received).toBeGreaterThan(counts.acknowledged);
}

/** So that those who are away miss something. Where Redis goes back in time nobody could say whether it was trimmed. */
const TRIMMED_SOON = { STREAM_RETAIN_MESSAGES: '40', STREAM_RETAIN_SEC: '1' };

/** Without and with waiting for replicas. */
const plain = topologies.filter((name) => !isShort || name === 'single');
const replicated = topologies.filter((name) => (isShort ? name === 'sentinel' : name !== 'single'));

describe('everything breaks, and what Redis still has reaches everybody once and in order', () => {
  for (const topology of plain) {
    test(topology, options, async () => {
      // One server with appendonly that is killed has everything that it acknowledged.
      const losesNothing = topology === 'single';
      const report = await run(topology, losesNothing, losesNothing ? TRIMMED_SOON : {});
      expectFlawless(report);
      if (losesNothing) expect(report.counts).toMatchObject({ redisLost: 0, takenBack: 0 });
    });
  }
  for (const topology of replicated) {
    test(`${topology} with PUBLISH_WAIT_REPLICAS=1: nothing acknowledged is taken back`, options, async () => {
      const report = await run(topology, true, { PUBLISH_WAIT_REPLICAS: '1' });
      expectFlawless(report);
      expect(report.counts.redisLost).toBe(0);
    });
  }
});
