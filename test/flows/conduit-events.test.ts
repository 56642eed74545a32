import type { JsonObject } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { type ConduitEnv, makeConduitEnv } from '../support/conduit-env.ts';
import { dataOf, type EventsResponse, listen } from '../support/events.ts';
import { ask } from '../support/raw-request.ts';
import { published, type Story, startStory } from '../support/story.ts';
import { until } from '../support/until.ts';

// A listener that was written for Conduit, with Conduit's settings and keys: every byte of its events, and what it is
// told where a stream can't be resumed exactly.
let story: Story;
let conduit: ConduitEnv;
let idle: EventsResponse;

beforeAll(async () => {
  conduit = makeConduitEnv();
  // So little is kept that a test can lose something.
  story = await startStory({ ...conduit.env, STREAM_RETAIN_MESSAGES: '5', STREAM_RETAIN_SEC: '0' });
  idle = await listenTo(crypto.randomUUID());
});
afterAll(async () => {
  idle?.close();
  await story?.stop();
});

interface Asking {
  readonly direct?: boolean;
  readonly token?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
}

async function urlOf(channelId: string, { direct = false, token, query = {} }: Asking = {}): Promise<string> {
  const base = direct ? story.directUrl : story.url;
  const signed = token ?? (await conduit.streamToken({ org_id: 1, channel_id: channelId }));
  return `${base}/events/1?${new URLSearchParams({ token: signed, channel_id: channelId, ...query })}`;
}

async function listenTo(channelId: string, asking: Asking = {}): Promise<EventsResponse> {
  return listen(await urlOf(channelId, asking), asking.headers);
}

async function send(
  channelId: string,
  init: { phase?: Phase; sequence?: number; messageId?: string; payload?: JsonObject } = {},
) {
  return published(story.url, await conduit.publishToken(), { channelId, ...init });
}

/** `count` messages of a new channel, and their ids. */
async function streamOf(count: number): Promise<{ channelId: string; ids: string[] }> {
  const channelId = crypto.randomUUID();
  const ids: string[] = [];
  for (let sequence = 1; sequence <= count; sequence++) ids.push(await send(channelId, { sequence }));
  return { channelId, ids };
}

describe('the response', () => {
  test('spells every byte as Conduit does', async () => {
    const channelId = crypto.randomUUID();
    const [one, two] = [crypto.randomUUID(), crypto.randomUUID()];
    const first = await send(channelId, { sequence: 1, messageId: one, payload: { text: 'a\r\n\nb', n: [1, null] } });
    const last = await send(channelId, { phase: Phase.END, sequence: 2, messageId: two });
    const response = await listenTo(channelId);
    await response.ended();
    expect(response.status).toBe(200);
    expect(response.headers).toMatchObject({
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
    });
    const begin = '{"event_type":"stream","message_id":';
    expect(response.text()).toBe(
      'retry: 500\n\n' +
        `event: stream\nid: ${first}\n` +
        `data: ${begin}"${one}","channel_id":"${channelId}","phase":"PHASE_DELTA","sequence":1,` +
        `"payload":{"text":"a\\r\\n\\nb","n":[1,null]}}\n\n` +
        `event: stream\nid: ${last}\n` +
        `data: ${begin}"${two}","channel_id":"${channelId}","phase":"PHASE_END","sequence":2,"payload":null}\n\n`,
    );
  });

  test('begins at once, before there is anything to tell', async () => {
    const response = await listenTo(crypto.randomUUID());
    await until('the first bytes arrive', () => response.text() === 'retry: 500\n\n');
    response.close();
  });

  test('gives a late joiner everything, END included, and ends', async () => {
    const { channelId, ids } = await streamOf(3);
    ids.push(await send(channelId, { phase: Phase.END, sequence: 4 }));
    const response = await listenTo(channelId);
    expect((await response.ended()).slice(1).map(({ id }) => id)).toEqual(ids);
    expect(response.end()).toBe('whole');
  });

  test('goes on after an ERROR', async () => {
    const channelId = crypto.randomUUID();
    const response = await listenTo(channelId);
    await send(channelId, { phase: Phase.ERROR, sequence: 1, payload: { reason: 'overloaded' } });
    await send(channelId, { sequence: 2 });
    await send(channelId, { phase: Phase.END, sequence: 3 });
    expect(dataOf(await response.ended()).map(({ phase }) => phase)).toEqual([
      'PHASE_ERROR',
      'PHASE_DELTA',
      'PHASE_END',
    ]);
  });

  test.each(['through the edge', 'straight to PORT'])('may be read by any page, and says so once, %s', async (way) => {
    const { channelId } = await streamOf(1);
    const direct = way === 'straight to PORT';
    const response = await listenTo(channelId, { direct, headers: { Origin: 'https://app.example' } });
    const allowed = response.rawHeaders.filter(
      (_, i, raw) => raw[i - 1]?.toLowerCase() === 'access-control-allow-origin',
    );
    expect(allowed).toEqual([direct ? '*' : 'https://app.example']);
    response.close();
    const preflight = await ask(await urlOf(channelId, { direct }), {
      method: 'OPTIONS',
      headers: { Origin: 'https://app.example', 'Access-Control-Request-Method': 'GET' },
    });
    expect([200, 204]).toContain(preflight.status);
    expect(preflight.header('access-control-allow-origin')).toHaveLength(1);
    expect(preflight.header('access-control-allow-methods').join()).toContain('GET');
    const refused = await ask(await urlOf(channelId, { direct, token: 'x' }), {
      headers: { Origin: 'https://app.example' },
    });
    expect([refused.status, refused.header('access-control-allow-origin').length]).toEqual([401, 1]);
  });
});

describe('who may listen', () => {
  test.for([
    ['expired', { exp: Math.floor(Date.now() / 1000) - 10 }, 401, 'Token expired'],
    ['from another issuer', { iss: 'somebody' }, 401, 'Invalid token'],
    ['for another audience', { aud: 'somebody' }, 401, 'Invalid token'],
    ['without a channel', { channel_id: undefined }, 401, 'Invalid token'],
    ['for another channel', { channel_id: crypto.randomUUID() }, 403, 'Invalid token claims'],
    ['for another organization', { org_id: 2 }, 403, 'Invalid token claims'],
  ] as const)('not with a token that is %s', async ([, claims, status, text]) => {
    const channelId = crypto.randomUUID();
    const token = await conduit.streamToken({ org_id: 1, channel_id: channelId, ...claims });
    for (const direct of [false, true]) {
      const answer = await ask(await urlOf(channelId, { token, direct }));
      expect([answer.status, answer.text]).toEqual([status, text]);
      expect(answer.header('content-type')).toEqual(['text/plain; charset=utf-8']);
    }
  });

  test('not with a text that is no token, nor with a publisher’s', async () => {
    for (const token of ['x', 'a.b.c', await conduit.publishToken({ org_id: 1 })]) {
      const answer = await ask(await urlOf(crypto.randomUUID(), { token }));
      expect([answer.status, answer.text]).toEqual([401, 'Invalid token']);
    }
  });

  test('with the token in a header instead of the URL', async () => {
    const { channelId, ids } = await streamOf(1);
    const token = await conduit.streamToken({ org_id: 1, channel_id: channelId });
    const response = await listen(`${story.url}/events/1?channel_id=${channelId}`, {
      Authorization: `Bearer ${token}`,
    });
    expect((await response.received(1)).map(({ id }) => id)).toEqual(ids);
    response.close();
  });

  test('who has begun goes on when the token expires', async () => {
    const channelId = crypto.randomUUID();
    // Still good by the clock skew of 5 s, and over it soon.
    const expSec = Math.floor(Date.now() / 1000) - 3;
    const token = await conduit.streamToken({ org_id: 1, channel_id: channelId, exp: expSec });
    const response = await listenTo(channelId, { token });
    expect(response.status).toBe(200);
    await until('the token is expired', async () => {
      const other = await listenTo(channelId, { token });
      other.close();
      return other.status === 401;
    });
    await send(channelId, { phase: Phase.END });
    await response.ended();
    expect(response.events().map(({ event }) => event)).toEqual([undefined, 'stream']);
  });
});

describe('resuming', () => {
  test('by Last-Event-ID, which wins over the query', async () => {
    const { channelId, ids } = await streamOf(4);
    const both = { query: { last_event_id: ids[0] ?? '' }, headers: { 'Last-Event-ID': ids[2] ?? '' } };
    const byHeader = await listenTo(channelId, both);
    expect((await byHeader.received(1)).map(({ id }) => id)).toEqual([ids[3]]);
    byHeader.close();
    const byQuery = await listenTo(channelId, { query: { last_event_id: ids[1] ?? '' } });
    expect((await byQuery.received(2)).map(({ id }) => id)).toEqual(ids.slice(2));
    byQuery.close();
  });

  test('an empty id is none', async () => {
    const { channelId, ids } = await streamOf(2);
    for (const asking of [{ query: { last_event_id: '' } }, { headers: { 'Last-Event-ID': '' } }]) {
      const response = await listenTo(channelId, asking);
      expect((await response.received(2)).map(({ id }) => id)).toEqual(ids);
      response.close();
    }
  });

  test.for(['x', '1-2-3', '-1', '1-', '0x10', '18446744073709551616-0', '1-18446744073709551616', '1 2', '１'])(
    'an id that can not be one is a 400: %s',
    async (id) => {
      const answer = await ask(await urlOf(crypto.randomUUID(), { query: { last_event_id: id } }));
      expect([answer.status, answer.text]).toEqual([400, 'last_event_id: must be an event id, <ms>-<n>']);
    },
  );

  test('a channel that can not be one is a 400', async () => {
    const answer = await ask(`${await urlOf('x')}`);
    expect([answer.status, answer.text]).toEqual([400, 'channel_id: must be a UUID']);
  });

  test('at the end of an ended stream there is nothing more: 204, which stops an EventSource', async () => {
    const channelId = crypto.randomUUID();
    const end = await send(channelId, { phase: Phase.END });
    for (const direct of [false, true]) {
      const answer = await ask(await urlOf(channelId, { direct }), { headers: { 'Last-Event-ID': end } });
      expect([answer.status, answer.text]).toEqual([204, '']);
    }
  });

  test('over messages that are no longer kept says what is missing', async () => {
    const { channelId, ids } = await streamOf(9);
    for (const headers of [{ 'Last-Event-ID': ids[1] ?? '' }, {}]) {
      const response = await listenTo(channelId, { headers });
      const delivered = (await response.received(5)).map(({ id }) => id);
      expect(delivered).toEqual(ids.slice(-delivered.length));
      expect(delivered.length).toBeLessThan(7);
      const control = response.events()[1];
      expect(control).toMatchObject({ event: 'control', id: headers['Last-Event-ID'] ?? '' });
      expect(JSON.parse(control?.data ?? '')).toEqual({
        event_type: 'control',
        message_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
        control_type: 'gap',
        first_id: delivered[0],
      });
      response.close();
    }
  });

  test('a stream of which nothing is kept says so, and goes on', async () => {
    const channelId = crypto.randomUUID();
    const response = await listenTo(channelId, { headers: { 'Last-Event-ID': '1700000000000-0' } });
    const [control] = await response.received(1, 'control');
    expect(JSON.parse(control?.data ?? '')).toMatchObject({ control_type: 'expired' });
    expect(control?.id).toBe('');
    const id = await send(channelId);
    expect((await response.received(1))[0]?.id).toBe(id);
    response.close();
  });

  test('from beyond the end says that the log went back, and goes on from there', async () => {
    const { channelId, ids } = await streamOf(2);
    const response = await listenTo(channelId, { headers: { 'Last-Event-ID': '9999999999999-7' } });
    const [control] = await response.received(1, 'control');
    expect(JSON.parse(control?.data ?? '')).toMatchObject({ control_type: 'reset' });
    expect(control?.id).toBe(ids[1]);
    const id = await send(channelId, { sequence: 3 });
    expect((await response.received(1)).map((event) => event.id)).toEqual([id]);
    response.close();
  });
});

describe('a producer that is lost', () => {
  test('ends its stream, and every listener is told', async () => {
    const other = await startStory({ ...conduit.env, CLEANUP_STREAM_IDLE_SEC: '1', CLEANUP_INTERVAL_SEC: '1' });
    try {
      const channelId = crypto.randomUUID();
      await published(other.url, await conduit.publishToken(), { channelId, sequence: 1 });
      const token = await conduit.streamToken({ org_id: 1, channel_id: channelId });
      const url = `${other.url}/events/1?token=${token}&channel_id=${channelId}`;
      const response = await listen(url);
      const events = await response.ended();
      expect(events.map(({ event }) => event)).toEqual([undefined, 'stream', 'control']);
      const control = events[2];
      expect(JSON.parse(control?.data ?? '')).toMatchObject({ control_type: 'producer_lost' });
      const back = await ask(url, { headers: { 'Last-Event-ID': control?.id ?? '' } });
      expect(back.status).toBe(204);
    } finally {
      await other.stop();
    }
  });
});

// Last, as it waits for what began first.
describe('silence', () => {
  test('has a comment every 15 seconds while nothing happens', async () => {
    await until('the keep-alive', () => idle.text().includes('\n:'), 17_000);
    expect(idle.text()).toBe('retry: 500\n\n:\n\n');
  });
});
