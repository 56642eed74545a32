import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { type ConduitCalls, conduitCalls } from '../support/conduit-calls.ts';
import { type ConduitEnv, makeConduitEnv } from '../support/conduit-env.ts';
import { listen } from '../support/events.ts';
import { ask } from '../support/raw-request.ts';
import { published, type Story, startStory } from '../support/story.ts';

// A listener that comes back by id gets exactly what it missed, or is told what it can't get.
let story: Story;
let conduit: ConduitEnv;
let calls: ConduitCalls;

beforeAll(async () => {
  conduit = makeConduitEnv();
  // So little is kept that a test can lose something.
  story = await startStory({ ...conduit.env, STREAM_RETAIN_MESSAGES: '5', STREAM_RETAIN_SEC: '0' });
  calls = conduitCalls(story, conduit);
});
afterAll(() => story?.stop());

describe('resuming', () => {
  test('by Last-Event-ID, which wins over the query', async () => {
    const { channelId, ids } = await calls.streamOf(4);
    const both = { query: { last_event_id: ids[0] ?? '' }, headers: { 'Last-Event-ID': ids[2] ?? '' } };
    const byHeader = await calls.listenTo(channelId, both);
    expect((await byHeader.received(1)).map(({ id }) => id)).toEqual([ids[3]]);
    byHeader.close();
    const byQuery = await calls.listenTo(channelId, { query: { last_event_id: ids[1] ?? '' } });
    expect((await byQuery.received(2)).map(({ id }) => id)).toEqual(ids.slice(2));
    byQuery.close();
  });

  test('an empty id is none', async () => {
    const { channelId, ids } = await calls.streamOf(2);
    for (const asking of [{ query: { last_event_id: '' } }, { headers: { 'Last-Event-ID': '' } }]) {
      const response = await calls.listenTo(channelId, asking);
      expect((await response.received(2)).map(({ id }) => id)).toEqual(ids);
      response.close();
    }
  });

  test.for(['x', '1-2-3', '-1', '1-', '0x10', '18446744073709551616-0', '1-18446744073709551616', '1 2', '１'])(
    'an id that can not be one is a 400: %s',
    async (id) => {
      const answer = await ask(await calls.urlOf(crypto.randomUUID(), { query: { last_event_id: id } }));
      expect([answer.status, answer.text]).toEqual([400, 'last_event_id: must be an event id, <ms>-<n>']);
    },
  );

  test('a channel that can not be one is a 400', async () => {
    const answer = await ask(`${await calls.urlOf('x')}`);
    expect([answer.status, answer.text]).toEqual([400, 'channel_id: must be a UUID']);
  });

  test('at the end of an ended stream there is nothing more: 204, which stops an EventSource', async () => {
    const channelId = crypto.randomUUID();
    const end = await calls.send(channelId, { phase: Phase.END });
    for (const direct of [false, true]) {
      const answer = await ask(await calls.urlOf(channelId, { direct }), { headers: { 'Last-Event-ID': end } });
      expect([answer.status, answer.text]).toEqual([204, '']);
    }
  });

  test('over messages that are no longer kept says what is missing', async () => {
    const { channelId, ids } = await calls.streamOf(9);
    for (const headers of [{ 'Last-Event-ID': ids[1] ?? '' }, {}]) {
      const response = await calls.listenTo(channelId, { headers });
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
    const response = await calls.listenTo(channelId, { headers: { 'Last-Event-ID': '1700000000000-0' } });
    const [control] = await response.received(1, 'control');
    expect(JSON.parse(control?.data ?? '')).toMatchObject({ control_type: 'expired' });
    expect(control?.id).toBe('');
    const id = await calls.send(channelId);
    expect((await response.received(1))[0]?.id).toBe(id);
    response.close();
  });

  test('from beyond the end says that the log went back, and goes on from there', async () => {
    const { channelId, ids } = await calls.streamOf(2);
    const response = await calls.listenTo(channelId, { headers: { 'Last-Event-ID': '9999999999999-7' } });
    const [control] = await response.received(1, 'control');
    expect(JSON.parse(control?.data ?? '')).toMatchObject({ control_type: 'reset' });
    expect(control?.id).toBe(ids[1]);
    const id = await calls.send(channelId, { sequence: 3 });
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
