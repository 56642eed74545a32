import { setTimeout as delay } from 'node:timers/promises';
import { openStepClock } from '../support/chaos-clock.ts';
import { startDeployment } from '../support/deployment.ts';
import { grpcListenerClient } from '../support/rpc-listener.ts';
import { startClusterWorld } from './cluster-world.ts';
import type { Counts, Judgement, Verdict } from './judge.ts';
import { FLAWLESS, NO_COUNTS } from './judge.ts';
import { live } from './life.ts';
import { type Fault, makePlan } from './plan.ts';
import { processFaults } from './process-faults.ts';
import { openPublishing, type Trouble } from './publishing.ts';
import { Random } from './random.ts';
import { redisClockFaults } from './redis-clock-faults.ts';
import { readLog } from './redis-world.ts';
import { startSentinelWorld } from './sentinel-world.ts';
import { startSingleWorld } from './single-world.ts';

const WORLDS = { single: startSingleWorld, sentinel: startSentinelWorld, cluster: startClusterWorld };
export type Topology = keyof typeof WORLDS;

export interface RunOptions {
  readonly topology: Topology;
  readonly seed: number;
  readonly seconds: number;
  /** Of what is acknowledged. */
  readonly redisLosesNothing: boolean;
  /** For all services. */
  readonly env?: Readonly<Record<string, string>>;
  readonly say: (line: string) => void;
}

export interface Report {
  readonly verdict: Verdict;
  readonly counts: Counts;
  readonly streams: number;
  readonly faults: number;
  readonly trouble: Trouble;
  /** What is wrong, in words, with what happened shortly before. */
  readonly flaws: readonly string[];
}

/** Streams that are alive at the same time. */
const STREAMS = 8;
const LONGEST_STREAM_MS = 15_000;
/** From one fault of a group to its next: where each takes longer than planned, nothing would work in between. */
const REST_MS = 2_000;
const SAY_EVERY_MS = 10_000;
const MAX_FLAWS = 50;
/** Faults that a flaw is reported with. */
const RECENT_FAULTS = 12;

/** Breaks a whole deployment under load as the seed says, and judges every stream that lived meanwhile. */
export async function runChaos(options: RunOptions): Promise<Report> {
  const { topology, seed, seconds, redisLosesNothing, env = {}, say } = options;
  const clock = openStepClock();
  const world = await WORLDS[topology]();
  const givenUp = new AbortController();
  const trouble: Trouble = { retried: 0, unexpected: [], givenUp: givenUp.signal };
  const clocks = redisClockFaults(world.servers);
  const notes = [
    ...world.notes,
    ...clocks.notes,
    ...(clock === undefined ? ['libfaketime is not installed: no clock steps'] : []),
  ];
  for (const note of notes) say(note);
  try {
    await using deployment = await startDeployment({
      redisUrl: world.url,
      replicas: { publish: 2, stream: 2, cleanup: 1 },
      env: { DRAIN_TIMEOUT_SEC: '3', ...clock?.env, ...env },
    });
    const processes = processFaults(deployment, clock);
    const lengthMs = seconds * 1_000;
    const broken = [world, processes, clocks];
    const plan = makePlan(
      seed,
      broken.flatMap(({ groups }) => groups),
      lengthMs,
    );
    const totals = new Totals();
    const startMs = performance.now();
    const sinceStart = () => Math.round(performance.now() - startMs);
    const recent: string[] = [];
    const ending = new AbortController();

    const breakAll = async (faults: readonly Fault[]) => {
      for (const [n, fault] of faults.entries()) {
        await delay(Math.max(n === 0 ? 0 : REST_MS, fault.atMs - sinceStart()));
        if (sinceStart() > lengthMs + 1_000) return;
        const begunMs = sinceStart();
        totals.broken(fault);
        for (const { groups, breakBy } of broken) {
          if (groups.some(({ kinds }) => kinds.includes(fault.kind))) await breakBy(fault);
        }
        recent.push(`${fault.kind} ${begunMs}–${sinceStart()} ms`);
        if (recent.length > RECENT_FAULTS) recent.shift();
      }
    };
    const random = new Random(seed ^ 0x5eed);
    const publishing = openPublishing(deployment.edge.url, deployment.publishToken, trouble);
    const client = grpcListenerClient(deployment.edge.url);
    const keepStreaming = async (own: Random) => {
      while (sinceStart() < lengthMs) {
        const begunMs = sinceStart();
        const judgement = await live({
          deployment,
          publishing,
          client,
          random: own.fork(),
          leaps: clocks.leaps,
          redisLosesNothing,
          readLog: (channel) => readLog(world, deployment.orgId, channel),
          lengthMs: own.whole(2_000, Math.min(LONGEST_STREAM_MS, lengthMs)),
          ending: ending.signal,
        });
        const flaws = totals.add(judgement, `${begunMs}–${sinceStart()} ms; faults: ${recent.join(', ')}`);
        for (const flaw of flaws) say(flaw);
        if (flaws.length > 0) say(judgement.details.join('\n'));
      }
    };
    const saying = setInterval(
      () => say(`${Math.round(sinceStart() / 1_000)} s: ${totals.line(trouble)}`),
      SAY_EVERY_MS,
    );
    const stopping = setTimeout(() => ending.abort(), lengthMs);
    try {
      await Promise.all([
        ...[...plan.faults.values()].map(breakAll),
        ...Array.from({ length: STREAMS }, () => keepStreaming(random.fork())),
      ]);
    } finally {
      clearInterval(saying);
      clearTimeout(stopping);
      // Where one of them failed, the others would go on.
      givenUp.abort();
    }
    say(`${topology}, seed ${seed}: ${totals.line(trouble)}`);
    say(`broken: ${totals.kinds()}`);
    return { ...totals.report(), trouble };
  } finally {
    await world.stop();
    clock?.stop();
  }
}

class Totals {
  faults = 0;
  readonly #kinds = new Map<string, number>();
  #streams = 0;
  #verdict = { ...FLAWLESS } as Record<keyof Verdict, number>;
  #counts = { ...NO_COUNTS } as Record<keyof Counts, number>;
  readonly #flaws: string[] = [];

  broken({ kind }: Fault): void {
    this.faults += 1;
    this.#kinds.set(kind, (this.#kinds.get(kind) ?? 0) + 1);
  }

  kinds(): string {
    return [...this.#kinds].map(([kind, count]) => `${kind} ${count}`).join(', ');
  }

  /** The flaws that are reported. */
  add({ verdict, counts, flaws }: Judgement, when: string): readonly string[] {
    this.#streams += 1;
    for (const [key, value] of Object.entries(verdict)) this.#verdict[key as keyof Verdict] += value;
    for (const [key, value] of Object.entries(counts)) this.#counts[key as keyof Counts] += value;
    // Of one stream the first few say it.
    const room = Math.max(0, Math.min(5, MAX_FLAWS - this.#flaws.length));
    const reported = flaws.slice(0, room).map((flaw) => `${flaw}, ${when}`);
    this.#flaws.push(...reported);
    return reported;
  }

  report() {
    const [verdict, counts, flaws] = [this.#verdict, this.#counts, this.#flaws];
    return { verdict: { ...verdict }, counts: { ...counts }, flaws, streams: this.#streams, faults: this.faults };
  }

  line({ retried, unexpected }: Trouble): string {
    const memoryMiB = Math.round(process.memoryUsage().rss / 1024 ** 2);
    const figures = { faults: this.faults, streams: this.#streams, ...this.#counts, ...this.#verdict, retried };
    const words = Object.entries(figures).map(([name, value]) => `${name} ${value}`);
    const latest = unexpected.length === 0 ? '' : ` (${unexpected.at(-1)})`;
    return `${words.join(', ')}, unexpected refusals ${unexpected.length}${latest}, ${memoryMiB} MiB`;
  }
}
