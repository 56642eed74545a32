import { setTimeout as delay } from 'node:timers/promises';
import { Code, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Phase, type PublishRequest } from '#gen/tideway/stream/v1/message_pb.ts';
import {
  PublishService,
  type PublishStreamResponse,
  type WatchCancelResponse,
} from '#gen/tideway/stream/v1/publish_service_pb.ts';
import { StreamService } from '#gen/tideway/stream/v1/stream_service_pb.ts';
import { type Deployment, startDeployment } from '../support/deployment.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { message, type StreamAccess, startStory, startStream } from '../support/story.ts';
import { transports } from '../support/transports.ts';
import { until } from '../support/until.ts';

// A stop button: whoever listens with a token that allows it cancels the stream, and its producer hears of it, wherever
// both are, before it starts or after.
const ORG = 7n;
let redis: RedisServer;
let deployment: Deployment;
/** The edge, and each stream service by itself. */
let url: string;

beforeAll(async () => {
  redis = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] });
  deployment = await startDeployment({ redisUrl: redis.url, replicas: { publish: 2, stream: 2 } });
  url = deployment.edge.url;
});
afterAll(async () => {
  await deployment?.stop();
  await redis?.stop();
});

async function start(mayCancel = true, channelId?: string): Promise<StreamAccess> {
  const response = await fetch(`${url}/v1/organizations/${ORG}/streams`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ allow_cancel: mayCancel, ...(channelId && { channel_id: channelId }) }),
  });
  return ((await response.json()) as { conduit: StreamAccess }).conduit;
}

async function cancel({ token, channel_id }: Pick<StreamAccess, 'token' | 'channel_id'>, reason = '', base = url) {
  const response = await fetch(`${base}/v1/organizations/${ORG}/channels/${channel_id}:cancel`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` },
    body: JSON.stringify(reason === '' ? {} : { reason }),
  });
  return { status: response.status, body: await response.json() };
}

const publishersAuthorization = () => ({ authorization: `Bearer ${deployment.publishToken}` });

/** Watches until it is closed, and calls again after what passes. */
function watch(baseUrl: string, channelIds: string[]) {
  const client = createClient(PublishService, createGrpcTransport({ baseUrl }));
  const closing = new AbortController();
  const seen = {
    answers: [] as WatchCancelResponse[],
    failures: [] as ConnectError[],
    ended: false,
    close: () => closing.abort(),
    told: () => seen.answers.flatMap(({ cancelled }) => (cancelled ? [[cancelled.channelId, cancelled.reason]] : [])),
  };
  void (async () => {
    while (!seen.ended && !closing.signal.aborted) {
      try {
        const options = { headers: publishersAuthorization(), signal: closing.signal };
        for await (const answer of client.watchCancel({ orgId: ORG, channelIds }, options)) seen.answers.push(answer);
        seen.ended = true;
      } catch (error) {
        seen.failures.push(ConnectError.from(error));
        await delay(50);
      }
    }
  })();
  return seen;
}

describe('the producer hears of it by WatchCancel', () => {
  test('on each replica, of each channel once, and the response ends when all are told', async () => {
    const one = await start();
    const two = await start();
    const direct = deployment.publish.map(({ port }) => `http://127.0.0.1:${port}`);
    const watchers = [url, ...direct].map((base) => watch(base, [one.channel_id, two.channel_id.toUpperCase()]));
    await until('all watch', () => watchers.every(({ answers }) => answers.length > 0));
    expect(await cancel(one, 'enough')).toEqual({ status: 200, body: {} });
    await until('all know', () => watchers.every(({ told }) => told().length === 1));
    expect(watchers.every(({ ended }) => ended)).toBe(false);
    // Another tab presses, too; what counts was said first.
    expect((await cancel(one, 'once more')).status).toBe(200);
    await cancel(two);
    await until('all is said', () => watchers.every(({ ended }) => ended));
    for (const { told } of watchers) {
      expect(told()).toEqual([
        [one.channel_id, 'enough'],
        [two.channel_id, ''],
      ]);
    }
  });

  test('of what was cancelled before it began, and after a reload', async () => {
    const access = await start();
    await cancel(access, 'too late');
    const reloaded = await start(true, access.channel_id);
    expect((await cancel(reloaded, 'again')).status).toBe(200);
    const watcher = watch(url, [access.channel_id]);
    await until('it is told', () => watcher.ended);
    expect(watcher.told()).toEqual([[access.channel_id, 'too late']]);
  });

  test('after Redis was started again, and over the end of a replica', async () => {
    const before = await start();
    const after = await start();
    await cancel(before);
    const watcher = watch(url, [before.channel_id, after.channel_id]);
    await until('it is told', () => watcher.told().length === 1);
    await redis.restart();
    for (const replica of [0, 1]) {
      deployment.publish[replica]?.kill('SIGKILL');
      await deployment.restart('publish', replica);
      await deployment.untilInUse('publish', replica);
    }
    await until('it is cancelled', async () => (await cancel(after, 'now')).status === 200);
    await until('it is told', () => watcher.ended);
    expect(new Map(watcher.told() as [string, string][])).toEqual(
      new Map([
        [before.channel_id, ''],
        [after.channel_id, 'now'],
      ]),
    );
  });

  test('which refuses what it cannot watch', async () => {
    const client = createClient(PublishService, createGrpcTransport({ baseUrl: url }));
    const failure = async (orgId: bigint, channelIds: string[], headers = publishersAuthorization()) => {
      try {
        for await (const _ of client.watchCancel({ orgId, channelIds }, { headers }));
      } catch (error) {
        return ConnectError.from(error).code;
      }
      return undefined;
    };
    const channel = crypto.randomUUID();
    expect(await failure(ORG, [])).toBe(Code.InvalidArgument);
    expect(await failure(ORG, ['x'])).toBe(Code.InvalidArgument);
    expect(await failure(ORG, new Array(101).fill(channel))).toBe(Code.InvalidArgument);
    expect(await failure(0n, [channel])).toBe(Code.InvalidArgument);
    expect(await failure(ORG, [channel], { authorization: 'Bearer nonsense' })).toBe(Code.Unauthenticated);
  });

  test('as JSON, by whoever has no other way', async () => {
    const access = await start();
    await cancel(access, 'enough');
    const response = await fetch(
      `${url}/v1/organizations/${ORG}/channels:watchCancel?channel_ids=${access.channel_id}`,
      { headers: { ...publishersAuthorization(), Accept: 'text/event-stream' } },
    );
    expect(response.status).toBe(200);
    const text = await response.text();
    expect(text.split('\n').filter((line) => line.startsWith('data: '))).toEqual([
      'data: {}',
      `data: ${JSON.stringify({ cancelled: { channel_id: access.channel_id, reason: 'enough' } })}`,
    ]);
  });
});

describe('who may cancel', () => {
  test('a token that allows it, for its own channel', async () => {
    const plain = await start(false);
    const other = await start();
    expect(await cancel(plain)).toMatchObject({ status: 403, body: { message: 'This token may not cancel' } });
    expect(await cancel({ ...other, channel_id: plain.channel_id })).toMatchObject({
      status: 403,
      body: { message: 'Invalid token claims' },
    });
    expect(await cancel({ ...other, token: 'nonsense' })).toMatchObject({ status: 401 });
    expect(await cancel(other, 'x'.repeat(201))).toMatchObject({ status: 400 });
    const quiet = watch(url, [plain.channel_id]);
    await until('it watches', () => quiet.answers.length > 0);
    await cancel(other);
    expect(quiet.told()).toEqual([]);
    quiet.close();
  });

  test.each(transports)('by $name', async ({ open }) => {
    const access = await start();
    const client = createClient(StreamService, open(url));
    const headers = { authorization: `Bearer ${access.token}` };
    await client.cancelStream({ orgId: ORG, channelId: access.channel_id, reason: '"typed"' }, { headers });
    const watcher = watch(url, [access.channel_id]);
    await until('it is told', () => watcher.ended);
    expect(watcher.told()).toEqual([[access.channel_id, '"typed"']]);
  });

  test('from a page of another origin', async () => {
    const access = await start();
    const response = await fetch(`${url}/v1/organizations/${ORG}/channels/${access.channel_id}:cancel`, {
      method: 'OPTIONS',
      headers: {
        Origin: 'https://page.test',
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'authorization,content-type',
      },
    });
    expect(response.status).toBe(200);
    expect(response.headers.get('access-control-allow-origin')).toBe('https://page.test');
  });
});

test('it stops nothing by itself, and after the END nobody hears of it', async () => {
  const access = await start();
  await cancel(access);
  const publish = (phase: number) =>
    fetch(`${url}/v1/messages:publish`, {
      method: 'POST',
      headers: { ...publishersAuthorization(), 'Content-Type': 'application/json' },
      body: JSON.stringify({
        org_id: `${ORG}`,
        channel_id: access.channel_id,
        message_id: crypto.randomUUID(),
        phase,
      }),
    });
  expect((await publish(2)).status).toBe(200);
  expect((await publish(3)).status).toBe(200);
  expect((await cancel(access)).status).toBe(200);
  expect((await publish(2)).status).toBe(400);
});

test('in memory it is the same', async () => {
  const story = await startStory();
  try {
    const access = await startStream(story.url, { allow_cancel: true });
    const client = createClient(PublishService, createGrpcTransport({ baseUrl: story.url }));
    const headers = { authorization: `Bearer ${story.development.publish_token}` };
    const told: unknown[] = [];
    for await (const { cancelled } of client.watchCancel({ orgId: 1n, channelIds: [access.channel_id] }, { headers })) {
      if (cancelled !== undefined) told.push(cancelled.reason);
      else {
        await createClient(StreamService, createGrpcTransport({ baseUrl: story.url })).cancelStream(
          { orgId: 1n, channelId: access.channel_id, reason: 'enough' },
          { headers: { authorization: `Bearer ${access.token}` } },
        );
      }
    }
    expect(told).toEqual(['enough']);
  } finally {
    await story.stop();
  }
});

/** One PublishStream, with a hand on each end. */
function openCall(transport: Transport) {
  const waiting: { message: PublishRequest }[] = [];
  let wake = () => {};
  let isOver = false;
  async function* requests() {
    while (!isOver) {
      const next = waiting.shift();
      if (next !== undefined) yield next;
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  }
  const answers: PublishStreamResponse[] = [];
  const ended = (async () => {
    const calling = createClient(PublishService, transport);
    const headers = publishersAuthorization();
    for await (const answer of calling.publishStream(requests(), { headers })) answers.push(answer);
  })();
  return {
    cancelled: () => answers.flatMap(({ result }) => (result.case === 'cancelled' ? [result.value] : [])),
    stored: () => answers.filter(({ result }) => result.case === 'published').length,
    positions: () => answers.flatMap(({ position, result }) => (result.case === 'published' ? [position] : [])),
    send(channelId: string, phase: Phase = Phase.DELTA) {
      waiting.push({ message: message({ channelId, phase, orgId: ORG }) });
      wake();
    },
    async finish() {
      isOver = true;
      wake();
      await ended;
    },
  };
}

describe.each(transports.filter(({ bidirectional }) => bidirectional))('on a PublishStream by $name', ({ open }) => {
  test('the producer is told once, of what was cancelled before it began and later, between its answers', async () => {
    const [before, later, never, over] = await Promise.all([start(), start(), start(), start()]);
    const call = openCall(open(url));
    await cancel(before, 'before');
    for (const { channel_id } of [before, later, never, over]) call.send(channel_id);
    call.send(over.channel_id, Phase.END);
    await until('it is told', () => call.stored() === 5 && call.cancelled().length === 1);
    call.send(before.channel_id);
    await cancel(later, 'later');
    // Straight to one replica and the other: wherever it is pressed.
    for (const { port } of deployment.stream) {
      const client = createClient(StreamService, createGrpcTransport({ baseUrl: `http://127.0.0.1:${port}` }));
      const headers = { authorization: `Bearer ${over.token}` };
      await client.cancelStream({ orgId: ORG, channelId: over.channel_id }, { headers });
    }
    await until('it is told again', () => call.cancelled().length === 2);
    // What is sent after it shows that nothing more was to come.
    call.send(before.channel_id, Phase.END);
    call.send(later.channel_id, Phase.END);
    await until('all is answered', () => call.stored() === 8);
    await call.finish();
    expect(call.cancelled().map(({ channelId, reason }) => [channelId, reason])).toEqual([
      [before.channel_id, 'before'],
      [later.channel_id, 'later'],
    ]);
    expect(call.positions()).toEqual([0n, 1n, 2n, 3n, 4n, 5n, 6n, 7n]);
  });

  test('the next call is told once more, wherever it arrives', async () => {
    const access = await start();
    const one = openCall(open(url));
    one.send(access.channel_id);
    await cancel(access, 'enough');
    await until('the first is told', () => one.cancelled().length === 1);
    await one.finish();
    for (const { port } of deployment.publish) {
      const next = openCall(open(`http://127.0.0.1:${port}`));
      next.send(access.channel_id);
      await until('the next one is told', () => next.cancelled().length === 1);
      await next.finish();
    }
  });
});
