import { setTimeout as delay } from 'node:timers/promises';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BadRequestSchema, RetryInfoSchema } from '#gen/google/rpc/error_details_pb.ts';
import { Phase, type PublishRequest } from '#gen/tideway/stream/v1/message_pb.ts';
import { PublishService, type PublishStreamResponse } from '#gen/tideway/stream/v1/publish_service_pb.ts';
import { listen } from '../support/events.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { eventsUrl, message, type Story, startStory, startStream } from '../support/story.ts';
import { transports } from '../support/transports.ts';
import { until } from '../support/until.ts';

// A publisher with much to say opens one call and sends; every message is answered, in order.
let story: Story;
let redis: RedisServer;

beforeAll(async () => {
  redis = await startRedis();
  story = await startStory({ REDIS_URL: redis.url, PUBLISH_STREAM_RATE_PER_SEC: '50' });
});
afterAll(async () => {
  await story?.stop();
  await redis?.stop();
});

/** One call, with a hand on each end. */
function openCall(transport = createGrpcTransport({ baseUrl: story.url }), token = story.development.publish_token) {
  const publisher = createClient(PublishService, transport);
  const waiting: { message?: PublishRequest }[] = [];
  let wake = () => {};
  let isOver = false;
  async function* requests() {
    for (;;) {
      const next = waiting.shift();
      if (next !== undefined) yield next;
      else if (isOver) return;
      else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  }
  const answers: PublishStreamResponse[] = [];
  const leaving = new AbortController();
  const ended = (async () => {
    const options = { headers: { authorization: `Bearer ${token}` }, signal: leaving.signal };
    for await (const answer of publisher.publishStream(requests(), options)) answers.push(answer);
  })();
  ended.catch(() => {});
  return {
    answers,
    ended,
    leave: () => leaving.abort(),
    send(...messages: (PublishRequest | undefined)[]) {
      for (const one of messages) waiting.push(one === undefined ? {} : { message: one });
      wake();
    },
    async answered(count: number) {
      const enough = until(`${count} answers`, () => answers.length >= count, 20_000);
      await Promise.race([enough, ended.then(() => enough)]);
      return answers;
    },
    async finish() {
      isOver = true;
      wake();
      await ended;
      return answers;
    },
  };
}

function idOf(answer: PublishStreamResponse | undefined): string {
  if (answer?.result.case !== 'published') throw new Error('it was refused');
  return answer.result.value.id;
}

/** `stored`, or the code of the refusal. */
function outcomes(answers: readonly PublishStreamResponse[]) {
  return answers.map(({ result }) => (result.case === 'error' ? Code[result.value.code] : 'stored'));
}

function numbered(channelId: string, count: number): PublishRequest[] {
  return Array.from({ length: count }, (_, sequence) => message({ channelId, sequence }));
}

describe.each(transports.filter(({ bidirectional }) => bidirectional))('PublishStream by $name', ({ open }) => {
  test('answers while it is being sent to, in order, refusals among them', async () => {
    const channelId = crypto.randomUUID();
    const call = openCall(open(story.url));
    call.send(message({ channelId, phase: Phase.START }));
    await call.answered(1);
    const twice = message({ channelId, sequence: 1 });
    call.send(twice, message({ channelId: 'x' }), twice, undefined, message({ channelId, phase: Phase.END }));
    await call.answered(6);
    call.send(message({ channelId, sequence: 9 }));
    const answers = await call.finish();

    expect(answers.map(({ position }) => position)).toEqual([0n, 1n, 2n, 3n, 4n, 5n, 6n]);
    expect(outcomes(answers)).toEqual([
      'stored',
      'stored',
      'InvalidArgument',
      'stored',
      'InvalidArgument',
      'stored',
      'FailedPrecondition',
    ]);
    const [, first, refused, second] = answers;
    expect(second?.result.value).toMatchObject({ duplicate: true, id: idOf(first) });
    const details = refused?.result.case === 'error' ? refused.result.value.details : [];
    expect(details[0] && anyUnpack(details[0], BadRequestSchema)?.fieldViolations[0]).toMatchObject({
      field: 'channel_id',
      description: 'must be a valid UUID',
    });
  });

  test('refuses the call as a whole to who has no good token', async () => {
    const call = openCall(open(story.url), 'nonsense');
    const error = await call.ended.catch(ConnectError.from);
    expect(error).toMatchObject({ code: Code.Unauthenticated, rawMessage: 'Token validation failed' });
  });
});

test('over the rate nothing is refused: the call is read more slowly', async () => {
  const channelId = crypto.randomUUID();
  const call = openCall();
  call.send(...numbered(channelId, 101));
  const answers = await call.finish();
  expect(new Set(outcomes(answers))).toEqual(new Set(['stored']));
  const storedMs = answers.map((answer) => Number(idOf(answer).split('-')[0]));
  // Fifty a second: the 51st and the 101st each had to wait for a new second.
  expect((storedMs[50] ?? 0) - (storedMs[0] ?? 0)).toBeGreaterThanOrEqual(990);
  expect((storedMs[100] ?? 0) - (storedMs[0] ?? 0)).toBeGreaterThanOrEqual(1980);
});

test('who waits for the rate keeps nobody else waiting', async () => {
  const slow = openCall();
  // For more seconds than a busy machine takes for the other.
  slow.send(...numbered(crypto.randomUUID(), 2_000));
  await slow.answered(50);
  const other = openCall();
  other.send(...numbered(crypto.randomUUID(), 10));
  expect(outcomes(await other.finish())).toHaveLength(10);
  expect(slow.answers.length).toBeLessThan(2_000);
  slow.leave();
});

test('the order holds while the broker is away: what was refused goes first', async () => {
  const channelId = crypto.randomUUID();
  const access = await startStream(story.url, { channel_id: channelId });
  const heard = await listen(eventsUrl(access));
  const [one, two, three, four] = numbered(channelId, 4) as [PublishRequest, ...PublishRequest[]];
  const call = openCall();
  call.send(one);
  await call.answered(1);

  await redis.kill();
  call.send(two, three as PublishRequest);
  await call.answered(3);
  await redis.restart();
  // Not yet its turn, although the broker is back.
  call.send(three);
  await call.answered(4);
  let sends = 4;
  while (outcomes(call.answers).at(-1) !== 'stored') {
    call.send(two);
    await call.answered(++sends);
    await delay(50);
  }
  call.send(three, four, message({ channelId, phase: Phase.END }));
  const answers = await call.finish();

  expect(outcomes(answers).slice(0, 4)).toEqual(['stored', 'Unavailable', 'Aborted', 'Aborted']);
  expect(outcomes(answers).slice(-4)).toEqual(['stored', 'stored', 'stored', 'stored']);
  const refusal = answers[1]?.result;
  const details = refusal?.case === 'error' ? refusal.value.details : [];
  expect(details.some((detail) => anyUnpack(detail, RetryInfoSchema) !== undefined)).toBe(true);
  const events = await heard.ended();
  expect(events.filter(({ event }) => event === 'stream').map(({ data }) => JSON.parse(data ?? '').sequence)).toEqual([
    0, 1, 2, 3, 0,
  ]);
});
