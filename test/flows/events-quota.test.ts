import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { authHeader, type Dsn, envelopeOf, newEventId, sendEvent } from '../support/event-sending.ts';
import { JsonApi } from '../support/json-api.ts';
import { ask } from '../support/raw-request.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { type Story, startStory } from '../support/story.ts';
import { until } from '../support/until.ts';

// Quotas as they are set by the JSON API and met by an SDK, counted in real Redis. (events-apart.test.ts has many relays
// that share one.)

const ORGANIZATION = '/v1/organizations/development';
const HOUR_SEC = 3_600;
const DAY_SEC = 86_400;
/** What a test needs of a window, at most: it may have to wait for as long until the next begins. */
const NEEDED_MS = 60_000;
const TIMEOUT_MS = 150_000;

interface Sender extends Dsn {
  /** `/v1/organizations/…/projects/…` */
  readonly path: string;
}

let redis: RedisServer;
let story: Story;
let api: JsonApi;

beforeAll(async () => {
  redis = await startRedis();
  story = await startStory({ REDIS_URL: redis.url });
  api = new JsonApi(story.url, story.development.api_token);
});
afterAll(async () => {
  await story?.stop();
  await redis?.stop();
});

async function newSender(): Promise<Sender> {
  const { id, slug } = await api.fetch('POST', `${ORGANIZATION}/projects`, { name: 'Limited' });
  const path = `${ORGANIZATION}/projects/${slug}`;
  const { keys } = await api.fetch('GET', `${path}/keys`);
  return { url: story.url, projectId: id, key: keys[0].public_key, path };
}

/** Sends what users say, which takes no part in counts of errors. */
async function sendReport({ url, projectId, key }: Sender): Promise<number> {
  const id = newEventId();
  const payload = JSON.stringify({ event_id: id, name: 'Ada', email: 'ada@example.com', comments: 'it broke' });
  const body = envelopeOf(id, [{ header: { type: 'user_report', length: payload.length }, payload }]);
  const headers = { 'X-Sentry-Auth': authHeader(key) };
  return (await ask(`${url}/api/${projectId}/envelope/`, { method: 'POST', headers, body })).status;
}

async function storedOf(sender: Sender, release: string): Promise<string[]> {
  const { events } = await api.fetch('GET', `${sender.path}/events?release=${release}`);
  return events.map(({ id }: { id: string }) => id);
}

async function quantityOf(sender: Sender, outcome: string): Promise<number> {
  const { totals } = await api.fetch('GET', `${sender.path}/outcomes`);
  return totals
    .filter((total: { outcome: string; category: string }) => total.outcome === outcome && total.category === 'error')
    .reduce((sum: number, { quantity }: { quantity: string }) => sum + Number(quantity), 0);
}

test('5 an hour: five are stored, the sixth is dropped with an outcome, the seventh is a 429 from memory', {
  timeout: TIMEOUT_MS,
}, async () => {
  const sender = await newSender();
  const other = await api.fetch('POST', `${sender.path}/keys`, { name: 'Other' });
  await untilWindowHas(HOUR_SEC, NEEDED_MS);
  // The relay asks for what is so when the first comes.
  const limited = await api.fetch('PATCH', `${sender.path}/keys/${sender.key}`, {
    rate_limit: { window_sec: HOUR_SEC, count: 5 },
  });
  expect(limited.rate_limit).toEqual({ window_sec: HOUR_SEC, count: '5' });

  const sent: string[] = [];
  for (let n = 1; n <= 6; n++) {
    const { id, answer } = await sendEvent(sender, { release: 'limited' });
    expect([n, answer.status]).toEqual([n, 200]);
    sent.push(id);
    if (n <= 5) await until(`event ${n} is stored`, async () => (await storedOf(sender, 'limited')).length === n);
  }
  await until('the sixth has its outcome', async () => (await quantityOf(sender, 'rate_limited')) === 1);

  const commands = await monitored(redis, async () => {
    const { answer } = await sendEvent(sender, { release: 'limited' });
    expect(answer.status).toBe(429);
    const retryAfterSec = Number(answer.header('retry-after')[0]);
    expect(retryAfterSec).toBeGreaterThan(0);
    expect(retryAfterSec).toBeLessThanOrEqual(HOUR_SEC);
    const [limits] = answer.header('x-sentry-rate-limits');
    const seconds = Number(/^(\d+):default;error;transaction;security;feedback:key:/.exec(limits ?? '')?.[1]);
    expect(Math.abs(seconds - retryAfterSec), limits).toBeLessThanOrEqual(1);
  });
  expect(commands.filter((command) => command.includes('quota:'))).toEqual([]);

  const elsewhere = await sendEvent({ ...sender, key: other.public_key }, { release: 'limited' });
  expect(elsewhere.answer.status).toBe(200);
  const expected = [...sent.slice(0, 5), elsewhere.id].sort();
  await until('the other key is not limited', async () => (await storedOf(sender, 'limited')).length === 6);
  expect((await storedOf(sender, 'limited')).sort()).toEqual(expected);
  await until('the seventh has its outcome, too', async () => (await quantityOf(sender, 'rate_limited')) === 2);
});

test('quotas of a project and of the organization: by category, and with the reason that they have', {
  timeout: TIMEOUT_MS,
}, async () => {
  const [one, two] = [await newSender(), await newSender()];
  await untilWindowHas(DAY_SEC, NEEDED_MS);
  const quota = { categories: ['error'], window_sec: DAY_SEC };
  await api.fetch('PATCH', one.path, {
    quotas: [{ ...quota, id: 'project', limit: 3, reason_code: 'project_full' }],
  });
  for (let n = 1; n <= 4; n++) expect((await sendEvent(one, { release: 'quota' })).answer.status).toBe(200);
  await until('the fourth is dropped', async () => (await quantityOf(one, 'rate_limited')) === 1);
  const refused = await sendEvent(one, { release: 'quota' });
  expect(refused.answer.status).toBe(429);
  expect(refused.answer.header('x-sentry-rate-limits')[0]).toMatch(/^\d+:error:project:project_full$/);
  expect((await sendEvent(two, { release: 'quota' })).answer.status).toBe(200);
  await until('three and one are stored', async () => {
    return (await storedOf(one, 'quota')).length === 3 && (await storedOf(two, 'quota')).length === 1;
  });

  // All projects together, and those that it has taken before do not count.
  await api.fetch('PATCH', ORGANIZATION, {
    quotas: [
      { ...quota, id: 'all', limit: 2, reason_code: 'paid_for' },
      { categories: ['feedback'], id: 'none', limit: 0, reason_code: 'unwanted' },
    ],
  });
  await until('the relay has heard of it', async () => (await sendReport(two)) === 429);
  const three = await newSender();
  for (const sender of [two, three]) {
    const { id, answer } = await sendEvent(sender, { release: 'organization' });
    expect(answer.status).toBe(200);
    await until('it is stored', async () => (await storedOf(sender, 'organization')).includes(id));
  }
  expect((await sendEvent(two, { release: 'organization' })).answer.status).toBe(200);
  await until('the third is dropped', async () => (await quantityOf(two, 'rate_limited')) === 1);
  const last = await sendEvent(three, { release: 'organization' });
  expect(last.answer.status).toBe(429);
  expect(last.answer.header('x-sentry-rate-limits')[0]).toMatch(/^\d+:error:organization:paid_for$/);
  await until('one of each is stored', async () => {
    const stored = await Promise.all([two, three].map((sender) => storedOf(sender, 'organization')));
    return stored.every(({ length }) => length === 1);
  });
});

/** Windows begin at another second of each organization: this is the first. */
async function untilWindowHas(windowSec: number, neededMs: number): Promise<void> {
  const windowMs = windowSec * 1_000;
  const leftMs = windowMs - ((Date.now() - 1_000) % windowMs);
  if (leftMs < neededMs) await delay(leftMs);
}

/** What Redis is asked meanwhile, by whomever. */
async function monitored(redis: RedisServer, act: () => Promise<void>): Promise<string[]> {
  const commands: string[] = [];
  const monitor = await redis.admin.monitor();
  monitor.on('monitor', (_time: string, args: string[]) => void commands.push(args.join(' ')));
  try {
    await redis.admin.echo('begin');
    await act();
    await redis.admin.echo('end');
    await until('the monitor has seen it all', () => commands.includes('echo end'));
  } finally {
    monitor.disconnect();
  }
  expect(commands).toContain('echo begin');
  return commands;
}
