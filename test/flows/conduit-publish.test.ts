import { toBinary } from '@bufbuild/protobuf';
import { timestampNow } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Phase, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import { type ConduitEnv, makeConduitEnv } from '../support/conduit-env.ts';
import { dataOf, listen } from '../support/events.ts';
import { overRate } from '../support/over-rate.ts';
import { ask } from '../support/raw-request.ts';
import { message, messageOfSize, type Story, startStory } from '../support/story.ts';

// A publisher that was written for Conduit, with Conduit's settings and keys: byte for byte, status for status.
let story: Story;
let conduit: ConduitEnv;

beforeAll(async () => {
  conduit = makeConduitEnv();
  story = await startStory(conduit.env);
});
afterAll(() => story?.stop());

const ID = /^\d{13}-\d+$/;

describe.each(['through the edge', 'straight to PORT'])('POST /publish/{org_id}/{channel_id}, %s', (way) => {
  const base = () => (way === 'through the edge' ? story.url : story.directUrl);

  async function post(
    channelId: string,
    body: Uint8Array | readonly Uint8Array[],
    more: { path?: string; token?: string; authorization?: string | null } = {},
  ) {
    const authorization = more.authorization ?? `Bearer ${more.token ?? (await conduit.publishToken())}`;
    return ask(`${base()}${more.path ?? `/publish/1/${channelId}`}`, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/x-protobuf',
        ...(more.authorization === null ? {} : { Authorization: authorization }),
      },
      body,
    });
  }

  /** What Conduit's publishers send: fields 1 to 6, and no organization beside the URL's. */
  const bytes = (init: Parameters<typeof message>[0]) => {
    const made = message(init);
    made.orgId = 0n;
    return toBinary(PublishRequestSchema, made);
  };

  test('answers the id of what it stored, as text', async () => {
    const channelId = crypto.randomUUID();
    const answer = await post(channelId, bytes({ channelId, payload: { text: 'hello' } }));
    expect(answer.status).toBe(200);
    expect(answer.text).toMatch(ID);
    expect(answer.header('content-type')).toEqual(['text/plain; charset=utf-8']);
    expect(answer.header('content-length')).toEqual([String(answer.text.length)]);
  });

  test('answers a repeated message with the id of the first, and stores it once', async () => {
    const channelId = crypto.randomUUID();
    const body = bytes({ channelId, sequence: 1 });
    const first = await post(channelId, body);
    const again = await post(channelId, body);
    expect([again.status, again.text]).toEqual([200, first.text]);
    const other = await post(channelId, bytes({ channelId, sequence: 2 }));
    expect(other.text).not.toBe(first.text);
  });

  test('needs neither a client_timestamp nor a payload', async () => {
    const channelId = crypto.randomUUID();
    expect((await post(channelId, bytes({ channelId }))).status).toBe(200);
    expect((await post(channelId, bytes({ channelId, payload: {} }))).status).toBe(200);
    const dated = message({ channelId });
    dated.clientTimestamp = timestampNow();
    expect((await post(channelId, toBinary(PublishRequestSchema, dated))).status).toBe(200);
  });

  test('takes a channel in either case', async () => {
    const channelId = crypto.randomUUID();
    const answer = await post(channelId.toUpperCase(), bytes({ channelId }));
    expect([answer.status, answer.text]).toEqual([200, expect.stringMatching(ID)]);
  });

  test.for([
    ['nothing', null, 'Missing authorization header'],
    ['another scheme', 'Basic dXNlcjpwYXNz', 'Invalid authorization format'],
    ['a token that is none', 'Bearer nonsense', 'Token validation failed'],
    ['no token', 'Bearer ', 'Token validation failed'],
  ] as const)('answers 401 to %s', async ([, authorization, text]) => {
    const channelId = crypto.randomUUID();
    const answer = await post(channelId, bytes({ channelId }), { authorization });
    // HTTP drops a header's trailing space, so "Bearer " arrives as a word that is no scheme.
    const expected = authorization === 'Bearer ' ? 'Invalid authorization format' : text;
    expect([answer.status, answer.text]).toEqual([401, expected]);
  });

  test.for([
    ['that has expired', () => conduit.publishToken({ exp: Math.floor(Date.now() / 1000) - 10 }), 'Token expired'],
    ['of another issuer', () => conduit.publishToken({ iss: 'somebody' }), 'Token validation failed'],
    ['for another audience', () => conduit.publishToken({ aud: 'somebody' }), 'Token validation failed'],
    ['that never expires', () => conduit.publishToken({ exp: undefined }), 'Token validation failed'],
    [
      'with another signature',
      async () => `${(await conduit.publishToken()).replace(/\.[^.]+$/, '')}.${'A'.repeat(43)}`,
      'Token validation failed',
    ],
    ['of a listener', () => conduit.streamToken({ org_id: 1 }), 'Token validation failed'],
  ] as const)('answers 401 to a token %s', async ([, token, text]) => {
    const channelId = crypto.randomUUID();
    const answer = await post(channelId, bytes({ channelId }), { token: await token() });
    expect([answer.status, answer.text]).toEqual([401, text]);
  });

  test('takes a token that expired less than the clock skew ago', async () => {
    const channelId = crypto.randomUUID();
    const token = await conduit.publishToken({ exp: Math.floor(Date.now() / 1000) - 1 });
    expect((await post(channelId, bytes({ channelId }), { token })).status).toBe(200);
  });

  test('holds a token to the organization and the channel that it names', async () => {
    const channelId = crypto.randomUUID();
    for (const [claims, status] of [
      [{ org_id: 1, channel_id: channelId }, 200],
      [{ org_id: '1' }, 200],
      [{ org_id: 2 }, 403],
      [{ channel_id: crypto.randomUUID() }, 403],
    ] as const) {
      const answer = await post(channelId, bytes({ channelId }), { token: await conduit.publishToken(claims) });
      expect([claims, answer.status]).toEqual([claims, status]);
      if (status === 403) expect(answer.text).toBe('Invalid token claims');
    }
  });

  test('answers 400 to bytes that are no message', async () => {
    const channelId = crypto.randomUUID();
    const whole = bytes({ channelId, payload: { text: 'hello' } });
    for (const body of [whole.subarray(0, -1), whole.subarray(0, 20), new Uint8Array([255]), Buffer.from('{"a":1}')]) {
      const answer = await post(channelId, body);
      expect([answer.status, answer.text]).toEqual([400, 'Invalid protobuf']);
    }
  });

  test('names what is wrong with a message', async () => {
    const channelId = crypto.randomUUID();
    const empty = await post(channelId, new Uint8Array());
    expect(empty.status).toBe(400);
    for (const field of ['channel_id: ', 'message_id: ', 'phase: ']) expect(empty.text).toContain(field);
    const other = await post(channelId, bytes({ channelId: crypto.randomUUID() }));
    expect([other.status, other.text]).toEqual([400, "channel_id: must be the URL's"]);
    const otherOrg = message({ channelId, orgId: 2n });
    const refused = await post(channelId, toBinary(PublishRequestSchema, otherOrg));
    expect([refused.status, refused.text]).toEqual([400, "org_id: must be the URL's"]);
    for (const org of ['0', 'acme', '18446744073709551616', '-1', '1.0', '%31%00']) {
      const answer = await post(channelId, bytes({ channelId }), { path: `/publish/${org}/${channelId}` });
      expect([org, answer.status]).toEqual([org, 400]);
    }
  });

  test('takes 16,384 bytes and not one more, declared or chunked', async () => {
    const channelId = crypto.randomUUID();
    for (const split of [(data: Uint8Array) => data, (data: Uint8Array) => [data.subarray(0, 9), data.subarray(9)]]) {
      expect((await post(channelId, split(messageOfSize(channelId, 16_384)))).status).toBe(200);
      const refused = await post(channelId, split(messageOfSize(channelId, 16_385)));
      expect([refused.status, refused.text]).toEqual([
        413,
        expect.stringMatching(/^Message size(?: 16385)? exceeds maximum of 16384 bytes$/),
      ]);
    }
  });

  test('answers 429 at the 21st in a second, and says when the next one passes', async () => {
    const token = await conduit.publishToken();
    const publish = (channelId: string) => post(channelId, bytes({ channelId }), { token });
    const refused = await overRate(publish, ({ status }) => status !== 200);
    expect(refused.map(({ status, text }) => [status, text])).toEqual([
      [429, 'Rate limit exceeded: maximum 20 requests per 1 second(s) per channel'],
    ]);
    expect(refused[0]?.header('retry-after')).toEqual(['1']);
    // Another channel's publishers feel nothing of it.
    const other = crypto.randomUUID();
    expect((await post(other, bytes({ channelId: other }), { token })).status).toBe(200);
  });

  test('answers 409 after END, but the END itself may be repeated', async () => {
    const channelId = crypto.randomUUID();
    const end = bytes({ channelId, phase: Phase.END });
    const first = await post(channelId, end);
    const late = await post(channelId, bytes({ channelId }));
    expect([late.status, late.text]).toEqual([409, 'Stream ended']);
    const again = await post(channelId, end);
    expect([again.status, again.text]).toEqual([200, first.text]);
  });

  test('answers 405 to other methods, and 404 to other paths', async () => {
    const channelId = crypto.randomUUID();
    const get = await ask(`${base()}/publish/1/${channelId}`);
    expect([get.status, get.header('allow')]).toEqual([405, ['POST']]);
    expect((await post(channelId, bytes({ channelId }), { path: '/publish/1' })).status).toBe(404);
  });

  test('a stream that ends with the id it began with arrives whole', async () => {
    const channelId = crypto.randomUUID();
    const first = crypto.randomUUID();
    const ids: string[] = [];
    for (const [phase, sequence, messageId] of [
      [Phase.START, 0, first],
      [Phase.DELTA, 1, crypto.randomUUID()],
      [Phase.DELTA, 2, crypto.randomUUID()],
      [Phase.END, 3, first],
    ] as const) {
      ids.push((await post(channelId, bytes({ channelId, phase, sequence, messageId }))).text);
    }
    const token = await conduit.streamToken({ org_id: 1, channel_id: channelId });
    const response = await listen(`${base()}/events/1?token=${token}&channel_id=${channelId}`);
    const events = await response.ended();
    expect(events.slice(1).map(({ id }) => id)).toEqual(ids);
    expect(dataOf(events).map(({ phase, sequence }) => [phase, sequence])).toEqual([
      ['PHASE_START', 0],
      ['PHASE_DELTA', 1],
      ['PHASE_DELTA', 2],
      ['PHASE_END', 3],
    ]);
  });
});
