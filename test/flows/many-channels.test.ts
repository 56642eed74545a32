import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { StreamService, type SubscribeManyResponse } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { dataOf, listen } from '../support/events.ts';
import { Received, sendAll, sequences, startMany } from '../support/many.ts';
import { PLACES, type Place } from '../support/place.ts';
import { ask } from '../support/raw-request.ts';
import { transports } from '../support/transports.ts';
import { until } from '../support/until.ts';

// Several channels over one connection, through the edge.

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

describe.each(PLACES)('%s', (_, start) => {
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
