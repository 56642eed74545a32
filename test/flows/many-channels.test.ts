import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { type Browser, chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ControlType, Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { StreamService, type SubscribeManyResponse } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { channelKey } from '#lib/broker/broker.ts';
import { findChromium } from '../../scripts/lib/system-programs.mjs';
import { CompositeCursor } from '../../services/stream/composite-cursor.ts';
import { type Deployment, startDeployment } from '../support/deployment.ts';
import { dataOf, listen } from '../support/events.ts';
import { listenByEventSource, ManyRpcListener, Received, send, startMany } from '../support/many.ts';
import { type Face, httpFace } from '../support/publishers.ts';
import { ask } from '../support/raw-request.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { type Story, startStory } from '../support/story.ts';
import { transports } from '../support/transports.ts';
import { until } from '../support/until.ts';

// Several channels over one connection, through the edge.

/** In memory, in one process; or on Redis, with the services apart and two that stream. */
interface Place {
  readonly url: string;
  readonly orgId: bigint;
  readonly face: Face;
  stop(): Promise<void>;
}

async function inMemory(env: Readonly<Record<string, string>> = {}): Promise<Place & { readonly story: Story }> {
  const story = await startStory({ PUBLISH_RATE_PER_SEC: '0', ...env });
  const face = httpFace(story.url, story.development.publish_token);
  return { url: story.url, orgId: 1n, face, story, stop: () => story.stop() };
}

async function onRedis(): Promise<Place & { readonly deployment: Deployment; readonly redis: RedisServer }> {
  const redis = await startRedis();
  const deployment = await startDeployment({
    redisUrl: redis.url,
    replicas: { publish: 1, stream: 2 },
    env: { DRAIN_TIMEOUT_SEC: '3' },
  });
  const { url } = deployment.edge;
  return {
    url,
    orgId: deployment.orgId,
    face: httpFace(url, deployment.publishToken),
    deployment,
    redis,
    async stop() {
      await deployment.stop();
      await redis.stop();
    },
  };
}

const sequences = (count: number) => Array.from({ length: count }, (_, n) => n);

/** So many more on each channel, several channels at once. */
async function sendAll(place: Place, ids: readonly string[], from: number, to: number, last: Phase = Phase.DELTA) {
  await Promise.all(
    ids.map(async (id) => {
      for (let n = from; n < to; n++) await send(place.face, place.orgId, id, n, n === to - 1 ? last : Phase.DELTA);
    }),
  );
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

describe.each([
  ['in memory', inMemory],
  ['on Redis', onRedis],
] as const)('%s', (_, start) => {
  let place: Place;
  beforeAll(async () => {
    place = await start();
  });
  afterAll(() => place?.stop());

  test('events of 20 channels have no id, and what belongs together ends with the cursor of all', async () => {
    const channels = await startMany(place.url, place.orgId);
    const [first = '', ...others] = channels.ids;
    await sendAll(place, channels.ids, 0, 3);
    const response = await listen(channels.eventsUrl());
    await response.received(60);
    await sendAll(place, [first], 3, 5, Phase.END);
    await sendAll(place, others, 3, 6);
    await response.received(60 + 2 + 57);
    expect(response.end()).toBe('open');
    await sendAll(place, others, 6, 7, Phase.END);
    const events = await response.ended();
    expect(events[0]).toEqual({ retry: '500' });
    for (const event of events.slice(1)) {
      expect(event).toEqual(
        event.event === 'stream'
          ? { event: 'stream', data: expect.any(String) }
          : { id: expect.stringMatching(/^[A-Za-z0-9_-]{481}$/) },
      );
    }
    expect(events.at(-1)).toHaveProperty('id');
    const received = new Received();
    const cursor = received.take(response.text());
    expect(received.repeated).toBe(0);
    expect(Object.fromEntries(received.sequences)).toEqual(
      Object.fromEntries(channels.ids.map((id) => [id, sequences(id === first ? 5 : 7)])),
    );
    // Nothing more to come: 204 stops an EventSource. So it is for any of them.
    for (const ids of [channels.ids, channels.ids.toReversed(), [first]]) {
      const answer = await ask(channels.eventsUrl(ids), { headers: { 'Last-Event-ID': cursor ?? '' } });
      expect([answer.status, answer.text]).toEqual([204, '']);
    }
  });

  test('resumes with fewer channels, with more, and in another order', async () => {
    const channels = await startMany(place.url, place.orgId);
    const some = channels.ids.slice(0, 5);
    await sendAll(place, channels.ids, 0, 2);
    const before = await listen(channels.eventsUrl(some));
    await before.received(10);
    await until('the cursor', () => before.events().at(-1)?.id !== undefined);
    const cursor = before.events().at(-1)?.id ?? '';
    before.close();
    await sendAll(place, channels.ids, 2, 3);

    const heardOf = async (ids: readonly string[], count: number) => {
      const response = await listen(channels.eventsUrl(ids, { last_event_id: cursor }));
      await response.received(count);
      response.close();
      const received = new Received();
      received.take(response.text());
      return received.sequences;
    };
    const fewer = await heardOf(some.slice(0, 2).toReversed(), 2);
    expect(Object.fromEntries(fewer)).toEqual(Object.fromEntries(some.slice(0, 2).map((id) => [id, [2]])));
    const more = await heardOf(channels.ids.toReversed(), 5 + 15 * 3);
    expect(Object.fromEntries(more)).toEqual(
      Object.fromEntries(channels.ids.map((id) => [id, some.includes(id) ? [2] : [0, 1, 2]])),
    );
  });

  test('a cut anywhere repeats what came since the cursor, and loses nothing', async () => {
    const channels = await startMany(place.url, place.orgId, [crypto.randomUUID(), crypto.randomUUID()]);
    await sendAll(place, channels.ids, 0, 3);
    const whole = await listen(channels.eventsUrl());
    await whole.received(6);
    await sendAll(place, channels.ids, 3, 4, Phase.END);
    await whole.ended();
    const replayed = await listen(channels.eventsUrl());
    await replayed.ended();
    const resume = async (arrived: string) => {
      const received = new Received();
      const cursor = received.take(arrived) ?? '';
      const rest = await listen(channels.eventsUrl(), { 'Last-Event-ID': cursor });
      if (rest.status !== 204) {
        await rest.ended();
        received.take(rest.text());
      }
      expect(Object.fromEntries(received.sequences)).toEqual(
        Object.fromEntries(channels.ids.map((id) => [id, sequences(4)])),
      );
    };
    // What was delivered live had several cursors in it, and what is replayed has one.
    for (let cut = 1; cut < whole.text().length; cut += 97) await resume(whole.text().slice(0, cut));
    for (let cut = 1; cut < replayed.text().length; cut += 173) await resume(await cutAfter(channels.eventsUrl(), cut));
  });

  test('typed, and as JSON: the cursor is a response of its own', async () => {
    const channels = await startMany(place.url, place.orgId);
    await sendAll(place, channels.ids, 0, 2, Phase.END);
    for (const { open } of transports) {
      const client = createClient(StreamService, open(place.url));
      const options = { headers: { authorization: `Bearer ${channels.token}` } };
      const request = { orgId: place.orgId, channelIds: [...channels.ids] };
      const responses = await all(client.subscribeMany(request, options));
      const cursor = responses.at(-1)?.cursor;
      expect(cursor).toMatch(/^[A-Za-z0-9_-]{481}$/);
      expect(orderOf(responses)).toEqual(Object.fromEntries(channels.ids.map((id) => [id, sequences(2)])));
      for (const response of responses) {
        expect(response.cursor === undefined).toBe(response.event.case !== undefined);
      }
      expect(await all(client.subscribeMany({ ...request, cursor: cursor ?? '' }, options))).toEqual([]);
    }
    const query = channels.ids.map((id) => `channel_ids=${id}`).join('&');
    const response = await listen(`${place.url}/v1/organizations/${place.orgId}/channels:subscribe?${query}`, {
      Authorization: `Bearer ${channels.token}`,
    });
    const data = dataOf(await response.ended());
    expect(data.at(-1)).toEqual({ cursor: expect.stringMatching(/^[A-Za-z0-9_-]{481}$/) });
    expect(data.filter(({ message }) => message !== undefined)).toHaveLength(40);
  });

  test('takes fifty, with all their ids, the token and the cursor in one URL', async () => {
    const ids = Array.from({ length: 50 }, () => crypto.randomUUID());
    const channels = await startMany(place.url, place.orgId, ids);
    await sendAll(place, ids.slice(1), 0, 1);
    const first = await listen(channels.eventsUrl());
    await first.received(49);
    await until('the cursor', () => first.events().at(-1)?.id !== undefined);
    first.close();
    const cursor = first.events().at(-1)?.id ?? '';
    expect(cursor).toHaveLength(1 + 50 * 24);
    const asked = { last_event_id: cursor };
    const url = channels.eventsUrl(ids, asked);
    expect(url.length).toBeLessThan(8 * 1024);
    await sendAll(place, ids, 1, 2, Phase.END);
    const received = new Received();
    const resumed = await listen(url);
    await resumed.ended();
    received.take(resumed.text());
    expect(Object.fromEntries(received.sequences)).toEqual(Object.fromEntries(ids.map((id) => [id, [1]])));
  });

  test('refuses what can not be listened to', async () => {
    const channels = await startMany(place.url, place.orgId, [crypto.randomUUID(), crypto.randomUUID()]);
    const [one = '', other = ''] = channels.ids;
    const foreign = crypto.randomUUID();
    const answers = [];
    for (const [ids, more] of [
      [[one, one.toUpperCase()], {}],
      [[one, one], {}],
      [Array.from({ length: 51 }, () => crypto.randomUUID()), {}],
      [[one, 'x'], {}],
      [[''], {}],
      [[one, other], { last_event_id: '1700000000000-0' }],
      [[one, foreign], {}],
      [[one, other], { token: 'nonsense' }],
    ] as const) {
      const { status, text } = await ask(channels.eventsUrl(ids, more));
      answers.push([status, text]);
    }
    expect(answers).toEqual([
      [400, 'channel_ids: must be different channels'],
      [400, expect.stringMatching(/^channel_ids: /)],
      [400, expect.stringMatching(/^channel_ids: .*50/)],
      [400, expect.stringMatching(/^channel_ids\[1\]: must be a valid UUID/)],
      [400, expect.stringMatching(/^channel_ids\[0\]: /)],
      [400, 'last_event_id: must be a cursor of several channels'],
      [403, 'Invalid token claims'],
      [401, 'Invalid token'],
    ]);
    const typed = createClient(StreamService, createGrpcTransport({ baseUrl: place.url }));
    const call = all(
      typed.subscribeMany(
        { orgId: place.orgId, channelIds: [one, foreign] },
        { headers: { authorization: `Bearer ${channels.token}` } },
      ),
    );
    await expect(call).rejects.toThrow('Invalid token claims');
  });

  test('a token for several is good for one of them in Conduit’s form, and one for one with a list of it', async () => {
    const channels = await startMany(place.url, place.orgId, [crypto.randomUUID(), crypto.randomUUID()]);
    const [one = ''] = channels.ids;
    await sendAll(place, [one], 0, 1, Phase.END);
    const single = channels.eventsUrl([]).replace(/&channel_ids=$/, `&channel_id=${one}`);
    const [, event] = await (await listen(single)).ended();
    expect(event).toMatchObject({ event: 'stream', id: expect.stringMatching(/^\d+-\d+$/) });
    expect((await ask(single.replace(one, crypto.randomUUID()))).status).toBe(403);

    const started = await fetch(`${place.url}/v1/organizations/${place.orgId}/streams`, {
      method: 'POST',
      body: JSON.stringify({ channel_id: one }),
      headers: { 'Content-Type': 'application/json' },
    });
    const { conduit } = (await started.json()) as { conduit: { token: string } };
    const listed = await listen(channels.eventsUrl([one], { token: conduit.token }));
    expect((await listed.ended()).map((block) => Object.keys(block))).toEqual([['retry'], ['event', 'data'], ['id']]);
    expect((await ask(channels.eventsUrl(channels.ids, { token: conduit.token }))).status).toBe(403);
  });
});

test('controls are said of their channel, and the others go on', async () => {
  const place = await inMemory({ STREAM_RETAIN_MESSAGES: '5', STREAM_RETAIN_SEC: '0' });
  try {
    const ids = Array.from({ length: 4 }, () => crypto.randomUUID());
    const [gap = '', reset = '', quiet = '', plain = ''] = ids;
    await sendAll(place, [gap, reset, quiet, plain], 0, 1);
    // A cursor that never was: beyond the end of one, and of one that has nothing.
    const nothing = crypto.randomUUID();
    const asked = await startMany(place.url, place.orgId, [...ids, nothing]);
    const places = [undefined, '99999999999999-0', undefined, undefined, '5-0'];
    const cursor = new CompositeCursor(
      asked.ids.map((id) => channelKey(place.orgId, id)),
      places as never[],
    ).toString();
    await sendAll(place, [gap], 1, 12);
    const response = await listen(asked.eventsUrl(undefined, { last_event_id: cursor }));
    await response.received(3, 'control');
    await sendAll(place, [reset, nothing, plain], 1, 2);
    const received = new Received();
    await until('all of them', () => {
      const again = new Received();
      again.take(response.text());
      return again.sequences.get(nothing)?.length === 1 && again.sequences.get(plain)?.length === 2;
    });
    received.take(response.text());
    response.close();
    expect(received.controls.sort()).toEqual([`${gap}:gap`, `${reset}:reset`, `${nothing}:expired`].sort());
    expect(received.sequences.get(gap)?.at(-1)).toBe(11);
    expect(received.sequences.get(reset)).toEqual([1]);
    expect(received.sequences.get(nothing)).toEqual([1]);
    expect(received.sequences.get(quiet)).toEqual([0]);

    const typed = createClient(StreamService, createGrpcTransport({ baseUrl: place.url }));
    const options = { headers: { authorization: `Bearer ${asked.token}` } };
    const controls: string[] = [];
    for await (const { channelId, event } of typed.subscribeMany(
      { orgId: place.orgId, channelIds: [...asked.ids], cursor },
      options,
    )) {
      if (event.case !== 'control' || event.value.type === ControlType.HEARTBEAT) continue;
      if (controls.push(`${channelId}:${event.value.type}`) === 2) break;
    }
    expect(controls.sort()).toEqual([`${gap}:${ControlType.GAP}`, `${reset}:${ControlType.RESET}`].sort());
  } finally {
    await place.stop();
  }
});

describe('a stream replica goes under listeners of 20 channels', () => {
  let place: Awaited<ReturnType<typeof onRedis>>;
  let browser: Browser;
  beforeAll(async () => {
    place = await onRedis();
    const executablePath = findChromium();
    if (executablePath === undefined) throw new Error('Chromium is missing: npm test installs it');
    browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu', '--disable-quic'] });
  });
  afterAll(async () => {
    await browser?.close();
    await place?.stop();
  });

  test.each(['SIGKILL', 'SIGTERM'] as const)('%s: all resume by their cursor, and nothing is lost', async (signal) => {
    const { deployment } = place;
    const channels = await startMany(place.url, place.orgId);
    const sources = Array.from({ length: 6 }, () => listenByEventSource(channels.eventsUrl()));
    const typed = Array.from({ length: 6 }, () => new ManyRpcListener(place.url, place.orgId, channels));
    const page = await browser.newPage();
    await page.goto(`${place.url}/healthz`);
    await page.evaluate(listenInPage, channels.eventsUrl());
    const inPage = () => page.evaluate<PageHeard>('heard');
    try {
      await sendAll(place, channels.ids, 0, 10);
      await until('everybody has the first 200', async () => {
        const { events } = await inPage();
        return [...sources, ...typed].every(({ received }) => received.count === 200) && events.length === 200;
      });
      const leaving = deployment.stream[0];
      const sending = sendAll(place, channels.ids, 10, 40, Phase.END);
      leaving?.kill(signal);
      await leaving?.exited;
      await sending;
      await until('everybody has all', async () => {
        const { events } = await inPage();
        const pages = receivedOf(events);
        return [...sources.map(({ received }) => received), ...typed.map(({ received }) => received), pages].every(
          ({ ended }) => ended === 20,
        );
      });
      const expected = Object.fromEntries(channels.ids.map((id) => [id, sequences(40)]));
      const { events, ids } = await inPage();
      const receiveds = [...sources, ...typed].map(({ received }) => received);
      for (const received of [...receiveds, receivedOf(events)]) {
        expect(Object.fromEntries(received.sequences)).toEqual(expected);
        // Resumed, and not begun again: at most what one write brought is repeated.
        expect(received.repeated).toBeLessThan(200);
      }
      // Blocks with an id and nothing else are no events to Chromium, and move its cursor.
      expect(ids.filter((id) => id !== '').every((id) => /^[A-Za-z0-9_-]{481}$/.test(id))).toBe(true);
      expect(new Set(ids).size).toBeGreaterThan(1);
      await until('204 stops them', async () => {
        const { state } = await inPage();
        return state === 2 && sources.every(({ source }) => source.readyState === 2);
      });
      await until('typed ones end', () => typed.every(({ hasEnded }) => hasEnded));
    } finally {
      for (const { source } of sources) source.close();
      for (const listener of typed) listener.close();
      await page.close();
    }
    await deployment.restart('stream', 0);
    await deployment.untilInUse('stream', 0);
  });
});

interface PageHeard {
  readonly events: readonly string[];
  /** What the page's EventSource said to be its last id, at each event. */
  readonly ids: readonly string[];
  readonly state: number;
}

/** Runs in the page. */
function listenInPage(url: string): void {
  const source = new EventSource(url);
  const heard = {
    events: [] as string[],
    ids: [] as string[],
    get state() {
      return source.readyState;
    },
  };
  source.addEventListener('stream', (event) => {
    const { data, lastEventId } = event as MessageEvent;
    heard.events.push(data);
    heard.ids.push(lastEventId);
  });
  Object.assign(globalThis, { heard });
}

function receivedOf(events: readonly string[]): Received {
  const received = new Received();
  for (const data of events) received.event('stream', data);
  return received;
}

function orderOf(responses: readonly SubscribeManyResponse[]): Record<string, number[]> {
  const order: Record<string, number[]> = {};
  for (const { channelId, event } of responses) {
    if (event.case !== 'message') continue;
    const list = order[channelId] ?? [];
    order[channelId] = list;
    list.push(Number(event.value.sequence));
  }
  return order;
}

/** Reads so many bytes of the answer's body, or all of one that has fewer, and cuts the connection. */
async function cutAfter(url: string, sizeBytes: number): Promise<string> {
  const response = await listen(url);
  await until('so much has come', () => response.text().length >= sizeBytes || response.end() === 'whole');
  response.close();
  return response.text().slice(0, sizeBytes);
}
