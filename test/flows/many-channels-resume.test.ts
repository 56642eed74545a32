import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ControlType, Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { StreamService } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { channelKey } from '#lib/broker/broker.ts';
import { CompositeCursor } from '../../services/stream/composite-cursor.ts';
import { listen } from '../support/events.ts';
import { Received, sendAll, sequences, startMany } from '../support/many.ts';
import { inMemory, PLACES, type Place } from '../support/place.ts';
import { until } from '../support/until.ts';

// Who listens to several channels comes back by one cursor for all.

describe.each(PLACES)('%s', (_, start) => {
  let place: Place;
  beforeAll(async () => {
    place = await start();
  });
  afterAll(() => place?.stop());

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
      return [reset, nothing, plain].every((id) => again.sequences.get(id)?.at(-1) === 1);
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

/** Reads so many bytes of the answer's body, or all of one that has fewer, and cuts the connection. */
async function cutAfter(url: string, sizeBytes: number): Promise<string> {
  const response = await listen(url);
  await until('so much has come', () => response.text().length >= sizeBytes || response.end() === 'whole');
  response.close();
  return response.text().slice(0, sizeBytes);
}
