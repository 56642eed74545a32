import { toJson } from '@bufbuild/protobuf';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '#gen/google/rpc/error_details_pb.ts';
import { Phase, type PublishRequest, PublishRequestSchema } from '#gen/tideway/stream/v1/message_pb.ts';
import { type PublishBatchResponse, PublishService } from '#gen/tideway/stream/v1/publish_service_pb.ts';
import { dataOf, listen } from '../support/events.ts';
import { ask } from '../support/raw-request.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { eventsUrl, message, type Story, startStory, startStream } from '../support/story.ts';
import { transports } from '../support/transports.ts';
import { until } from '../support/until.ts';

// A publisher that collects tokens sends them as Conduit advises: together, a few times a second.
let story: Story;
let redis: RedisServer;

beforeAll(async () => {
  redis = await startRedis();
  story = await startStory({ REDIS_URL: redis.url });
});
afterAll(async () => {
  await story?.stop();
  await redis?.stop();
});

const headers = () => ({ authorization: `Bearer ${story.development.publish_token}` });
const client = (transport = createGrpcTransport({ baseUrl: story.url })) => createClient(PublishService, transport);
const send = (messages: PublishRequest[], transport?: ReturnType<typeof createGrpcTransport>) =>
  client(transport).publishBatch({ messages }, { headers: headers() });

function numbered(channelId: string, count: number, text = 'x'): PublishRequest[] {
  return Array.from({ length: count }, (_, sequence) => message({ channelId, sequence, payload: { text } }));
}

function idsOf({ results }: PublishBatchResponse): string[] {
  return results.map(({ result }) => (result.case === 'published' ? result.value.id : `refused: ${result.case}`));
}

describe.each(transports)('PublishBatch by $name', ({ open }) => {
  test('is stored in its order, and repeated it is stored once', async () => {
    const access = await startStream(story.url);
    const messages = numbered(access.channel_id, 100);
    messages.push(message({ channelId: access.channel_id, sequence: 100, phase: Phase.END }));
    const first = await send(messages, open(story.url));
    const again = await send(messages, open(story.url));
    expect(idsOf(again)).toEqual(idsOf(first));
    expect(again.results.map(({ result }) => result.value)).toMatchObject(messages.map(() => ({ duplicate: true })));
    const events = (await (await listen(eventsUrl(access))).ended()).filter(({ event }) => event === 'stream');
    expect(events.map(({ id }) => id)).toEqual(idsOf(first));
    expect(dataOf(events).map(({ sequence }) => sequence)).toEqual(messages.map((_, n) => n));
  });

  test('what follows an END in it is refused, each by itself', async () => {
    const channelId = crypto.randomUUID();
    const messages = numbered(channelId, 4);
    messages[2] = message({ channelId, phase: Phase.END });
    messages[4] = messages[1] as PublishRequest;
    const { results } = await send(messages, open(story.url));
    expect(results.map(({ result }) => result.case)).toEqual([
      'published',
      'published',
      'published',
      'error',
      'published',
    ]);
    const refused = results[3]?.result;
    if (refused?.case !== 'error') throw new Error('it was not refused');
    expect(refused.value).toMatchObject({ code: Code.FailedPrecondition, message: 'Stream ended' });
    expect(refused.value.details.map((detail) => anyUnpack(detail, ErrorInfoSchema))).toMatchObject([
      { reason: 'STREAM_ENDED' },
    ]);
  });
});

test('a message that is not well formed refuses the batch, by name, and nothing of it is stored', async () => {
  const channelId = crypto.randomUUID();
  const good = numbered(channelId, 3);
  const other = message({ channelId: crypto.randomUUID() });
  for (const [messages, fields] of [
    [[], ['messages']],
    [numbered(channelId, 501), ['messages']],
    [[...good, message({ channelId, messageId: 'x' })], ['messages[3].message_id']],
    [
      [...good, other, message({ channelId, orgId: 2n })],
      ['messages[3].channel_id', 'messages[4].org_id'],
    ],
    [[...good, message({ channelId, payload: { n: [Number.NaN] } })], ['messages[3].payload']],
  ] as const) {
    const error = ConnectError.from(await send([...messages]).catch((reason) => reason));
    expect(error.code).toBe(Code.InvalidArgument);
    const violations = error.findDetails(BadRequestSchema).flatMap(({ fieldViolations }) => fieldViolations);
    expect(violations.map(({ field }) => field)).toEqual(fields);
  }
  const large = await send([...good, message({ channelId, payload: { text: 'x'.repeat(16_400) } })]).catch(
    ConnectError.from,
  );
  expect(large).toMatchObject({ code: Code.ResourceExhausted });
  expect(String(large)).toMatch(/messages\[3\]: Message size \d+ exceeds maximum of 16384 bytes/);
  expect(idsOf(await send(good))).toHaveLength(3);
  expect((await send(good)).results.map(({ result }) => result.case)).toEqual(['published', 'published', 'published']);
});

test('takes a megabyte, and no more', async () => {
  const channelId = crypto.randomUUID();
  const { results } = await send(numbered(channelId, 64, 'x'.repeat(16_000)));
  expect(results.filter(({ result }) => result.case === 'published')).toHaveLength(64);
  const error = ConnectError.from(
    await send(numbered(crypto.randomUUID(), 70, 'x'.repeat(16_000))).catch((reason) => reason),
  );
  expect(error.code).toBe(Code.ResourceExhausted);
});

test('needs a token that allows it', async () => {
  const messages = numbered(crypto.randomUUID(), 2);
  const call = client().publishBatch({ messages }, { headers: { authorization: 'Bearer nonsense' } });
  expect(ConnectError.from(await call.catch((reason) => reason)).code).toBe(Code.Unauthenticated);
});

test('counts as one of the twenty a second, and 5,000 messages of a second are all kept', async () => {
  const access = await startStream(story.url);
  const channelId = access.channel_id;
  const ids: string[] = [];
  let error: ConnectError | undefined;
  // All of them at once, so that they meet in one second however busy the machine is: the first twenty are taken.
  const answers = await Promise.allSettled(Array.from({ length: 25 }, () => send(numbered(channelId, 250))));
  for (const answer of answers) {
    if (answer.status === 'fulfilled') ids.push(...idsOf(answer.value));
    else error = ConnectError.from(answer.reason);
  }
  expect(ids.length).toBeGreaterThanOrEqual(5000);
  if (ids.length < 25 * 250) {
    expect(error).toMatchObject({ code: Code.ResourceExhausted });
    expect(error?.findDetails(RetryInfoSchema)).toHaveLength(1);
  }
  const heard = await listen(eventsUrl(access));
  await until('all is there', () => heard.events().filter(({ event }) => event === 'stream').length >= ids.length);
  const kept = heard.events().filter(({ event }) => event === 'stream');
  heard.close();
  expect(kept.map(({ id }) => id).sort()).toEqual(ids.sort());
});

test('a broker that goes away in between: the batch is sent again until it is answered, and is stored once', async () => {
  const access = await startStream(story.url);
  const messages = numbered(access.channel_id, 500);
  messages[499] = message({ channelId: access.channel_id, sequence: 499, phase: Phase.END });
  const sent = send(messages).catch(ConnectError.from);
  redis.pause();
  const first = await sent;
  if (first instanceof ConnectError) expect(first.code).toBe(Code.Unavailable);
  redis.resume();
  let ids: string[] = [];
  await until('it is answered', async () => {
    const answer = await send(messages).catch(ConnectError.from);
    if (answer instanceof ConnectError) expect([Code.Unavailable, Code.ResourceExhausted]).toContain(answer.code);
    else ids = idsOf(answer);
    return ids.length > 0;
  });
  const events = (await (await listen(eventsUrl(access))).ended()).filter(({ event }) => event === 'stream');
  expect(events.map(({ id }) => id)).toEqual(ids);
  expect(dataOf(events).map(({ sequence }) => sequence)).toEqual(messages.map((_, n) => n));
});

describe('POST /v1/messages:batchPublish', () => {
  async function post(body: unknown) {
    const { status, text, header } = await ask(`${story.url}/v1/messages:batchPublish`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Authorization: headers().authorization },
      body: JSON.stringify(body),
    });
    return { status, header, json: JSON.parse(text) };
  }

  test('answers each message as JSON, in either spelling', async () => {
    const channelId = crypto.randomUUID();
    const written = (phase: string) => ({
      org_id: '1',
      channel_id: channelId,
      message_id: crypto.randomUUID(),
      phase,
      payload: { text: 'hello' },
    });
    const camel = toJson(PublishRequestSchema, message({ channelId, sequence: 1, payload: { n: 1 } }));
    const body = { messages: [written('PHASE_START'), camel, camel, written('PHASE_END'), written('PHASE_DELTA')] };
    const { status, json } = await post(body);
    expect(status).toBe(200);
    const id = expect.stringMatching(/^\d{13}-\d+$/);
    expect(json).toEqual({
      results: [
        { published: { id } },
        { published: { id } },
        { published: { id: json.results[1].published.id, duplicate: true } },
        { published: { id } },
        {
          error: {
            code: 9,
            message: 'Stream ended',
            details: [
              { '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'STREAM_ENDED', domain: 'tideway' },
            ],
          },
        },
      ],
    });
  });

  test('answers what is wrong, and what is too much, with the right status', async () => {
    const wrong = await post({ messages: [{ org_id: '1', channel_id: 'x' }] });
    expect([wrong.status, wrong.json.code]).toEqual([400, 3]);
    expect(wrong.json.message).toContain('messages[0].channel_id: must be a valid UUID');
    const huge = await post({ messages: [{ payload: { text: 'x'.repeat(131_072) } }] });
    expect([huge.status, huge.json.code]).toEqual([413, 8]);
  });
});
