import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { type Death, expectBooks, LOSS_WINDOW_MS } from '../support/event-books.ts';
import { EventLoad } from '../support/event-load.ts';
import { type Dsn, sendEvent } from '../support/event-sending.ts';
import { startEventsDeployment } from '../support/events-deployment.ts';
import { freePort } from '../support/free-port.ts';
import { JsonApi } from '../support/json-api.ts';
import { randomFrom } from '../support/random-changes.ts';
import { startStory } from '../support/story.ts';
import { startMonolith } from '../support/tideway.ts';
import { until } from '../support/until.ts';

// kill -9 of everything on the path of an event, in turn, while events come. EVENTS_KILL_SECONDS makes it longer, and
// EVENTS_KILL_SEED says in which order and when.

const EVENTS_PER_SEC = Number(process.env['EVENTS_KILL_RATE'] ?? 300);
const SECONDS = Number(process.env['EVENTS_KILL_SECONDS'] ?? 10);
const SEED = Number(process.env['EVENTS_KILL_SEED'] ?? 5);
const TIMEOUT_MS = SECONDS * 5_000 + 180_000;
/** Between a part that is back and the next kill. */
const MIN_PAUSE_MS = 400;
const MAX_PAUSE_MS = 1_500;

test(
  'services apart: each process and each server killed in turn',
  async () => {
    await using deployment = await startEventsDeployment();
    const { kafka, postgres, redis, relays, edge, api, env } = deployment;
    const project = await deployment.newProject('Kills');
    const dsn = { url: edge.url, projectId: project.id, key: project.key };
    await untilTaken(dsn);
    const deaths: Death[] = [];
    let log = { wentMs: Number.NEGATIVE_INFINITY, backMs: Number.NEGATIVE_INFINITY };
    const restarted = async (server: { kill(): Promise<void>; restart(): Promise<void> }) => {
      await server.kill();
      await delay(300);
      await server.restart();
    };
    const kills = {
      relay: async () => {
        const killedMs = performance.now();
        const logWentMs = killedMs - log.backMs < LOSS_WINDOW_MS ? log.wentMs : undefined;
        await deployment.replace('relay', 0);
        deaths.push({ killedMs, replacedMs: performance.now(), logWentMs });
      },
      consumers: () => deployment.replace('consumers', 0),
      kafka: async () => {
        const wentMs = performance.now();
        await restarted(kafka);
        log = { wentMs, backMs: performance.now() };
      },
      postgres: () => restarted(postgres),
      redis: () => restarted(redis),
    };

    const load = new EventLoad({ dsn, eventsPerSec: EVENTS_PER_SEC });
    const killed = await killInTurn(kills);
    await load.finish();
    // It logs what it has answered before it ends.
    const [relay] = relays;
    relay?.kill('SIGTERM');
    await relay?.exited;
    expect(load.refusals).toEqual([]);
    const { lost, stored } = await expectBooks({ api, path: project.path, env, load, deaths });
    report('apart', killed, load, { lost, stored });
  },
  TIMEOUT_MS,
);

test(
  'the monolith: killed while events come, and started again',
  async () => {
    const dir = await mkdtemp(join(tmpdir(), 'tideway-kills-'));
    const env = { TIDEWAY_DATA_DIR: dir, PORT: String(await freePort()) };
    const story = await startStory(env);
    let { monolith } = story;
    try {
      const { organization, project, api_token: token, dsn: given } = story.development;
      const { username: key, pathname } = new URL(given);
      const dsn = { url: story.url, projectId: pathname.slice(1), key };
      await untilTaken(dsn);
      const deaths: Death[] = [];
      const replace = async () => {
        const killedMs = performance.now();
        monolith.kill('SIGKILL');
        await monolith.exited;
        monolith = await startMonolith(env);
        deaths.push({ killedMs, replacedMs: performance.now(), logWentMs: undefined });
      };

      const load = new EventLoad({ dsn, eventsPerSec: EVENTS_PER_SEC });
      const killed = await killInTurn({ monolith: replace }, SECONDS / 3);
      await load.finish();
      expect(load.refusals).toEqual([]);
      const api = new JsonApi(story.url, token);
      const path = `/v1/organizations/${organization}/projects/${project}`;
      const { lost, stored } = await expectBooks({ api, path, env, load, deaths });
      report('monolith', killed, load, { lost, stored });
    } finally {
      monolith.kill('SIGKILL');
      await monolith.exited;
      await story.stop();
      await rm(dir, { recursive: true, force: true });
    }
  },
  TIMEOUT_MS,
);

/** Every part once in an order of the seed's, and again until the time is over. @returns what was killed. */
async function killInTurn(
  parts: Readonly<Record<string, () => Promise<void>>>,
  seconds = SECONDS,
): Promise<readonly string[]> {
  const random = randomFrom(SEED);
  const endMs = performance.now() + seconds * 1_000;
  const killed: string[] = [];
  do {
    const order = Object.keys(parts)
      .map((name) => ({ name, at: random() }))
      .sort((a, b) => a.at - b.at);
    for (const { name } of order) {
      await delay(MIN_PAUSE_MS + random() * (MAX_PAUSE_MS - MIN_PAUSE_MS));
      await parts[name]?.();
      killed.push(name);
    }
  } while (performance.now() < endMs);
  await delay(MAX_PAUSE_MS);
  return killed;
}

/** The relay knows the project. */
async function untilTaken(dsn: Dsn): Promise<void> {
  await until('an event is taken', async () => (await sendEvent(dsn)).answer.status === 200);
}

/** For whoever runs it for longer: what it was, and what dying cost. */
function report(
  what: string,
  killed: readonly string[],
  load: EventLoad,
  { lost, stored }: { readonly lost: number; readonly stored: number },
): void {
  const statuses = Object.fromEntries(load.statuses);
  const answered = { http: load.answered.size, rpc: load.acknowledged.size };
  process.stdout.write(
    `kills of ${what}: ${JSON.stringify({ seed: SEED, killed, sent: load.sent, statuses, answered, stored, lost })}\n`,
  );
}
