import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { type ConduitCalls, conduitCalls } from '../support/conduit-calls.ts';
import { type ConduitEnv, makeConduitEnv } from '../support/conduit-env.ts';
import { dataOf, type EventsResponse, listen } from '../support/events.ts';
import { ask } from '../support/raw-request.ts';
import { type Story, startStory } from '../support/story.ts';
import { until } from '../support/until.ts';

// A listener that was written for Conduit, with Conduit's settings and keys: every byte of its events, and every refusal.
let story: Story;
let conduit: ConduitEnv;
let calls: ConduitCalls;
let idle: EventsResponse;

beforeAll(async () => {
  conduit = makeConduitEnv();
  story = await startStory(conduit.env);
  calls = conduitCalls(story, conduit);
  idle = await calls.listenTo(crypto.randomUUID());
});
afterAll(async () => {
  idle?.close();
  await story?.stop();
});

describe('the response', () => {
  test('spells every byte as Conduit does', async () => {
    const channelId = crypto.randomUUID();
    const [one, two] = [crypto.randomUUID(), crypto.randomUUID()];
    const first = await calls.send(channelId, {
      sequence: 1,
      messageId: one,
      payload: { text: 'a\r\n\nb', n: [1, null] },
    });
    const last = await calls.send(channelId, { phase: Phase.END, sequence: 2, messageId: two });
    const response = await calls.listenTo(channelId);
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
    const response = await calls.listenTo(crypto.randomUUID());
    await until('the first bytes arrive', () => response.text() === 'retry: 500\n\n');
    response.close();
  });

  test('gives a late joiner everything, END included, and ends', async () => {
    const { channelId, ids } = await calls.streamOf(3);
    ids.push(await calls.send(channelId, { phase: Phase.END, sequence: 4 }));
    const response = await calls.listenTo(channelId);
    expect((await response.ended()).slice(1).map(({ id }) => id)).toEqual(ids);
    expect(response.end()).toBe('whole');
  });

  test('goes on after an ERROR', async () => {
    const channelId = crypto.randomUUID();
    const response = await calls.listenTo(channelId);
    await calls.send(channelId, { phase: Phase.ERROR, sequence: 1, payload: { reason: 'overloaded' } });
    await calls.send(channelId, { sequence: 2 });
    await calls.send(channelId, { phase: Phase.END, sequence: 3 });
    expect(dataOf(await response.ended()).map(({ phase }) => phase)).toEqual([
      'PHASE_ERROR',
      'PHASE_DELTA',
      'PHASE_END',
    ]);
  });

  test.each(['through the edge', 'straight to PORT'])('may be read by any page, and says so once, %s', async (way) => {
    const { channelId } = await calls.streamOf(1);
    const direct = way === 'straight to PORT';
    const response = await calls.listenTo(channelId, { direct, headers: { Origin: 'https://app.example' } });
    const allowed = response.rawHeaders.filter(
      (_, i, raw) => raw[i - 1]?.toLowerCase() === 'access-control-allow-origin',
    );
    expect(allowed).toEqual([direct ? '*' : 'https://app.example']);
    response.close();
    const preflight = await ask(await calls.urlOf(channelId, { direct }), {
      method: 'OPTIONS',
      headers: { Origin: 'https://app.example', 'Access-Control-Request-Method': 'GET' },
    });
    expect([200, 204]).toContain(preflight.status);
    expect(preflight.header('access-control-allow-origin')).toHaveLength(1);
    expect(preflight.header('access-control-allow-methods').join()).toContain('GET');
    const refused = await ask(await calls.urlOf(channelId, { direct, token: 'x' }), {
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
      const answer = await ask(await calls.urlOf(channelId, { token, direct }));
      expect([answer.status, answer.text]).toEqual([status, text]);
      expect(answer.header('content-type')).toEqual(['text/plain; charset=utf-8']);
    }
  });

  test('not with a text that is no token, nor with a publisher’s', async () => {
    for (const token of ['x', 'a.b.c', await conduit.publishToken({ org_id: 1 })]) {
      const answer = await ask(await calls.urlOf(crypto.randomUUID(), { token }));
      expect([answer.status, answer.text]).toEqual([401, 'Invalid token']);
    }
  });

  test('with the token in a header instead of the URL', async () => {
    const { channelId, ids } = await calls.streamOf(1);
    const token = await conduit.streamToken({ org_id: 1, channel_id: channelId });
    const response = await listen(`${story.url}/events/1?channel_id=${channelId}`, {
      Authorization: `Bearer ${token}`,
    });
    expect((await response.received(1)).map(({ id }) => id)).toEqual(ids);
    response.close();
  });

  test('who has begun goes on when the token expires', async () => {
    const channelId = crypto.randomUUID();
    // Good by the clock skew of 5 s: so long a busy machine has to begin.
    const expSec = Math.floor(Date.now() / 1000);
    const token = await conduit.streamToken({ org_id: 1, channel_id: channelId, exp: expSec });
    const response = await calls.listenTo(channelId, { token });
    expect(response.status).toBe(200);
    await until('the token is expired', async () => {
      const other = await calls.listenTo(channelId, { token });
      other.close();
      return other.status === 401;
    });
    await calls.send(channelId, { phase: Phase.END });
    await response.ended();
    expect(response.events().map(({ event }) => event)).toEqual([undefined, 'stream']);
  });
});

// Last, as it waits for what began first.
describe('silence', () => {
  test('has a comment every 15 seconds while nothing happens', async () => {
    await until('the keep-alive', () => idle.text().includes('\n:'));
    // More than one where the tests before took so long.
    expect(idle.text()).toMatch(/^retry: 500\n\n(?::\n\n)+$/);
  });
});
