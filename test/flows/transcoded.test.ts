import { toJson } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Phase, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import { dataOf, type EventsResponse, listen } from '../support/events.ts';
import { overRate } from '../support/over-rate.ts';
import { ask } from '../support/raw-request.ts';
import { message, published, type Story, type StreamAccess, startStory, startStream } from '../support/story.ts';
import { until } from '../support/until.ts';

// The JSON forms of Publish and Subscribe: the typed calls as curl and fetch make them, translated by Envoy.
let story: Story;

beforeAll(async () => {
  story = await startStory();
});
afterAll(() => story?.stop());

async function post(body: unknown, more: { token?: string | null; path?: string } = {}) {
  const { token = story.development.publish_token, path = '/v1/messages:publish' } = more;
  const { status, text, header } = await ask(`${story.url}${path}`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      ...(token === null ? {} : { Authorization: `Bearer ${token}` }),
    },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  return { status, header, json: JSON.parse(text) };
}

/** As a person writes it. */
function written(init: { channelId: string; phase?: string; sequence?: string | number; payload?: unknown }) {
  const { channelId, phase = 'PHASE_DELTA', ...more } = init;
  return { org_id: '1', channel_id: channelId, message_id: crypto.randomUUID(), phase, ...more };
}

describe('POST /v1/messages:publish', () => {
  test('answers the id, and that a repeated message was stored before', async () => {
    const hello = written({ channelId: crypto.randomUUID(), payload: { text: 'hello' } });
    const first = await post(hello);
    expect(first.status).toBe(200);
    expect(first.header('content-type')).toEqual(['application/json']);
    expect(first.json).toEqual({ id: expect.stringMatching(/^\d{13}-\d+$/) });
    expect((await post(hello)).json).toEqual({ id: first.json.id, duplicate: true });
  });

  test('takes the names of protobuf’s JSON as well, and numbers as they come', async () => {
    const channelId = crypto.randomUUID();
    const camel = toJson(PublishRequestSchema, message({ channelId, sequence: 1, payload: { n: 1 } }));
    expect((await post(camel)).status).toBe(200);
    expect((await post({ ...written({ channelId }), org_id: 1, sequence: 2, phase: 2 })).status).toBe(200);
    const big = '18446744073709551615';
    expect((await post(written({ channelId, sequence: big, phase: 'PHASE_END' }))).status).toBe(200);
    const access = await startStream(story.url, { channel_id: channelId });
    const heard = await listen(`${access.url}?token=${access.token}&channel_id=${channelId}`);
    await heard.ended();
    expect(heard.text()).toContain(`"phase":"PHASE_END","sequence":${big},`);
  });

  test('names every field that is wrong', async () => {
    const { status, json } = await post({ org_id: 0, channel_id: 'x', phase: 'PHASE_UNSPECIFIED' });
    expect(status).toBe(400);
    expect(json).toEqual({
      code: 3,
      message: expect.stringContaining('channel_id: must be a valid UUID'),
      details: [
        { '@type': 'type.googleapis.com/google.rpc.BadRequest', field_violations: expect.any(Array) },
        { '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'INVALID_ARGUMENT', domain: 'tideway' },
      ],
    });
    const fields = json.details[0].field_violations.map(({ field }: { field: string }) => field);
    expect(fields.sort()).toEqual(['channel_id', 'message_id', 'org_id', 'phase']);
  });

  test.for([
    ['no token', null, 401, 16, 'MISSING_AUTHORIZATION'],
    ['a bad token', 'nonsense', 401, 16, 'PUBLISH_TOKEN_INVALID'],
  ] as const)('answers %s with the right status', async ([, token, status, code, reason]) => {
    const answer = await post(written({ channelId: crypto.randomUUID() }), { token });
    expect([answer.status, answer.json.code]).toEqual([status, code]);
    expect(answer.json.details).toMatchObject([{ reason }]);
  });

  test('answers the end of the stream, the rate and the size with the right status', async () => {
    const channelId = crypto.randomUUID();
    await post(written({ channelId, phase: 'PHASE_END' }));
    const late = await post(written({ channelId }));
    // FAILED_PRECONDITION is 400 by google.rpc's own table.
    expect([late.status, late.json.code, late.json.message]).toEqual([400, 9, 'Stream ended']);
    expect(late.json.details).toMatchObject([{ reason: 'STREAM_ENDED' }]);

    const refused = await overRate(
      (channel) => post(written({ channelId: channel })),
      ({ status }) => status !== 200,
    );
    expect(refused.map(({ status, json }) => [status, json.code])).toEqual([[429, 8]]);
    expect(refused[0]?.header('retry-after')).toEqual(['1']);
    expect(refused[0]?.json.details.map((detail: { '@type': string }) => detail['@type'].split('.').at(-1))).toEqual([
      'QuotaFailure',
      'RetryInfo',
      'ErrorInfo',
    ]);

    const large = await post(written({ channelId: crypto.randomUUID(), payload: { text: 'x'.repeat(17_000) } }));
    expect([large.status, large.json.code]).toEqual([429, 8]);
    expect(large.json.message).toMatch(/^Message size \d+ exceeds maximum of 16384 bytes$/);
    const huge = await post(written({ channelId: crypto.randomUUID(), payload: { text: 'x'.repeat(200_000) } }));
    expect([huge.status, huge.json.code]).toEqual([413, 8]);
  });

  test.for([
    ['is cut off', '{"org_id": 1, "channel_id'],
    ['is none', 'hello'],
    ['has a string for a number', '{"sequence": "many"}'],
    ['has an unknown phase', '{"phase": "PHASE_MIDDLE"}'],
    ['has a negative sequence', '{"sequence": -1}'],
    ['is a list', '[]'],
  ])('says what is wrong with JSON that %s', async ([, body]) => {
    const { status, json } = await post(body);
    expect([status, json]).toEqual([400, { code: 3, message: expect.stringMatching(/\S/) }]);
  });

  test('answers 404 where there is nothing', async () => {
    for (const path of ['/v1/messages', '/v1/messages:forget', '/v1/organizations/1', '/v1/']) {
      const answer = await ask(`${story.url}${path}`, { method: 'POST', body: '{}' });
      expect([path, answer.status]).toEqual([path, 404]);
    }
  });
});

describe('GET /v1/organizations/{org_id}/channels/{channel_id}/messages:subscribe', () => {
  function subscribe(access: StreamAccess, query = '', token: string | null = access.token): Promise<EventsResponse> {
    return listen(
      `${story.url}/v1/organizations/1/channels/${access.channel_id}/messages:subscribe${query}`,
      token === null ? {} : { Authorization: `Bearer ${token}` },
    );
  }

  async function streamOf(count: number): Promise<{ access: StreamAccess; ids: string[] }> {
    const access = await startStream(story.url);
    const ids: string[] = [];
    for (let sequence = 1; sequence <= count; sequence++) {
      const phase = sequence === count ? Phase.END : Phase.DELTA;
      const init = { channelId: access.channel_id, sequence, phase, payload: { n: sequence } };
      ids.push(await published(story.url, story.development.publish_token, init));
    }
    return { access, ids };
  }

  test('is server-sent events that have only data, and ends after END', async () => {
    const { access, ids } = await streamOf(3);
    const response = await subscribe(access);
    const events = await response.ended();
    expect(response.status).toBe(200);
    expect(response.headers['content-type']).toBe('text/event-stream');
    expect(events.map((event) => Object.keys(event))).toEqual([['data'], ['data'], ['data']]);
    const data = dataOf(events);
    expect(data.map(({ id }) => id)).toEqual(ids);
    expect(data[0]).toEqual({
      id: ids[0],
      message: {
        message_id: expect.any(String),
        channel_id: access.channel_id,
        phase: 'PHASE_DELTA',
        // As protobuf's JSON has it: a uint64 is a string.
        sequence: '1',
        payload: { n: 1 },
      },
    });
  });

  test('brings each message when it is published', async () => {
    const access = await startStream(story.url);
    const response = await subscribe(access);
    const init = { channelId: access.channel_id, payload: { n: 1 } };
    const id = await published(story.url, story.development.publish_token, init);
    const messages = () => dataOf(response.events()).filter(({ message }) => message !== undefined);
    await until('the message arrives', () => messages().length > 0);
    expect(messages()).toMatchObject([{ id, message: { payload: { n: 1 } } }]);
    response.close();
  });

  test('resumes by last_event_id, in either spelling', async () => {
    const { access, ids } = await streamOf(4);
    for (const name of ['last_event_id', 'lastEventId']) {
      const response = await subscribe(access, `?${name}=${ids[1]}`);
      expect(dataOf(await response.ended()).map(({ id }) => id)).toEqual(ids.slice(2));
    }
  });

  test('refuses with the status and the body of every other call', async () => {
    const { access } = await streamOf(1);
    const other = await startStream(story.url);
    for (const [query, token, status, code] of [
      ['', null, 401, 16],
      ['', 'nonsense', 401, 16],
      ['', other.token, 403, 7],
      ['?last_event_id=x', access.token, 400, 3],
      ['?last_event=1-0', access.token, 400, 3],
      ['?org_id=2', access.token, 400, 3],
      ['?orgId=1', access.token, 400, 3],
      [`?channel_id=${other.channel_id}`, other.token, 400, 3],
      [`?ch%61nnel_id=${other.channel_id}`, other.token, 400, 3],
    ] as const) {
      const response = await subscribe(access, query, token);
      await response.ended();
      expect([query, response.status, response.headers['content-type']]).toEqual([query, status, 'application/json']);
      expect(JSON.parse(response.text())).toMatchObject({ code, message: expect.any(String) });
    }
  });

  test('refuses an organization and a channel that can not be', async () => {
    const { access } = await streamOf(1);
    for (const path of [
      `/v1/organizations/x/channels/${access.channel_id}/messages:subscribe`,
      '/v1/organizations/1/channels/x/messages:subscribe',
    ]) {
      const response = await listen(`${story.url}${path}`, { Authorization: `Bearer ${access.token}` });
      await response.ended();
      expect([path, response.status]).toEqual([path, 400]);
      expect(JSON.parse(response.text())).toMatchObject({ code: 3 });
    }
  });
});
