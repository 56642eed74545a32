import { once } from 'node:events';
import { connect, type IncomingHttpHeaders } from 'node:http2';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { type Broker, channelKey } from '#lib/broker/broker.ts';
import { newMessage } from '#lib/broker/broker-harness.ts';
import { createMemoryBroker } from '#lib/broker/memory-broker.ts';
import { type BothWays, ORG_ID, serveBothWays } from './subscribe-testing.ts';

// Over h2 events are answered on the stream: it must be what HTTP/1.1 has.

let broker: Broker;
let both: BothWays;
beforeAll(async () => {
  broker = createMemoryBroker();
  both = await serveBothWays(broker);
});
afterAll(() => both.stop());

interface Answer {
  readonly status: number;
  readonly headers: Record<string, unknown>;
  readonly body: string;
}

/** Answers that have begun. */
let begun = 0;

async function overH1(path: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(`http://127.0.0.1:${both.ours}${path}`, init);
  begun++;
  return answerOf(response.status, Object.fromEntries(response.headers), await response.text());
}

async function overH2(path: string, headers: Record<string, string> = {}): Promise<Answer> {
  const session = connect(`http://127.0.0.1:${both.ours}`);
  const stream = session.request({ ':path': path, ...headers });
  const [answered] = (await once(stream, 'response')) as [IncomingHttpHeaders];
  begun++;
  let body = '';
  for await (const part of stream) body += String(part);
  session.destroy();
  return answerOf(Number(answered[':status']), answered, body);
}

const HEADERS = ['content-type', 'cache-control', 'x-accel-buffering', 'access-control-allow-origin', 'retry-after'];

function answerOf(status: number, headers: Record<string, unknown>, body: string): Answer {
  const named = Object.fromEntries(HEADERS.map((name) => [name, headers[name]]));
  return { status, headers: named, body: body.replaceAll(/"message_id":"[^"]+"/g, '') };
}

async function sealed(): Promise<{ id: string; token: string; lastId: string }> {
  const id = crypto.randomUUID();
  const rate = { name: 'unary', perSec: 0 } as const;
  await broker.publish(channelKey(ORG_ID, id), newMessage(), rate);
  const end = await broker.publish(channelKey(ORG_ID, id), newMessage({ phase: Phase.END }), rate);
  if (end.kind !== 'stored') throw new Error('not stored');
  return { id, token: await both.token(id), lastId: end.id };
}

test('events over h2 are answered as over HTTP/1.1: a stream, the end of one, and every refusal', async () => {
  const { id, token, lastId } = await sealed();
  const asked = {
    stream: `/events/1?token=${token}&channel_id=${id}`,
    slash: `/events/1/?token=${token}&channel_id=${id.toUpperCase()}`,
    several: `/events/1?token=${token}&channel_ids=${id}`,
    'at its end': `/events/1?token=${token}&channel_id=${id}&last_event_id=${lastId}`,
    'bad id': `/events/1?token=${token}&channel_id=${id}&last_event_id=x`,
    'no channel': `/events/1?token=${token}`,
    'other channel': `/events/1?token=${token}&channel_id=${crypto.randomUUID()}`,
    'other organization': `/events/2?token=${token}&channel_id=${id}`,
    'no organization': `/events/x?token=${token}&channel_id=${id}`,
    'bad token': `/events/1?token=x&channel_id=${id}`,
    'no token': `/events/1?channel_id=${id}`,
    'no such path': `/events/1/2?channel_id=${id}`,
  };
  const statuses: Record<string, number> = {};
  for (const [name, path] of Object.entries(asked)) {
    const answer = await overH2(path);
    expect(answer, name).toEqual(await overH1(path));
    statuses[name] = answer.status;
  }
  expect(statuses).toMatchObject({ stream: 200, 'at its end': 204, 'no channel': 400, 'bad token': 401 });
  const headers = { authorization: `Bearer ${token}`, 'last-event-id': lastId };
  const path = `/events/1?channel_id=${id}`;
  expect(await overH2(path, headers)).toEqual(await overH1(path, { headers }));
});

test('a broker that is away is an event of both', async () => {
  const away = createMemoryBroker();
  const others = both;
  both = await serveBothWays(away);
  try {
    const id = crypto.randomUUID();
    const path = `/events/1?token=${await both.token(id)}&channel_id=${id}`;
    await away.close();
    const answer = await overH2(path);
    expect(answer).toEqual(await overH1(path));
    expect(answer).toMatchObject({ status: 200, body: expect.stringContaining('event: error') });
  } finally {
    await both.stop();
    both = others;
  }
});

test('whoever resets its stream listens no more', async () => {
  const own = createMemoryBroker();
  const left = vi.fn();
  const { listen } = own;
  own.listen = async (...of) => {
    const leave = await listen.apply(own, of);
    return () => {
      left();
      leave();
    };
  };
  const served = await serveBothWays(own);
  const id = crypto.randomUUID();
  const session = connect(`http://127.0.0.1:${served.ours}`);
  const stream = session.request({ ':path': `/events/1?token=${await served.token(id)}&channel_id=${id}` });
  await once(stream, 'data');
  stream.close(8);
  await vi.waitFor(() => expect(left).toHaveBeenCalledOnce());
  session.destroy();
  await served.stop();
});

test('a stream that is reset before its refusal ends nothing but itself', async () => {
  const session = connect(`http://127.0.0.1:${both.ours}`);
  for (const path of [
    '/events/1',
    '/events/1?token=x&channel_id=x',
    `/events/1?token=x&channel_id=${crypto.randomUUID()}`,
  ]) {
    for (const code of [0, 1, 2, 8]) {
      const stream = session.request({ ':path': path });
      stream.on('error', () => {});
      stream.close(code);
      await new Promise((resolve) => stream.on('close', resolve));
    }
    expect((await overH1(path)).status).toBeGreaterThan(399);
  }
  session.destroy();
});

test('who is revoked is told in its words, over either protocol', async () => {
  const id = crypto.randomUUID();
  const token = await both.token(id);
  await broker.publish(channelKey(ORG_ID, id), newMessage(), { name: 'unary', perSec: 0 });
  const path = `/events/1?token=${token}&channel_id=${id}`;
  begun = 0;
  const answers = [path, `${path}&controls=1`].flatMap((asked) => [overH1(asked), overH2(asked)]);
  const revoked = {
    kind: 'channel_revoked',
    about: channelKey(ORG_ID, id),
    atMs: Date.now() + 1000,
    detail: '',
  } as const;
  await vi.waitFor(() => expect(begun).toBe(4));
  await broker.decisions.make(revoked, 60_000);
  const [plain, plainH2, told, toldH2] = await Promise.all(answers);
  expect(plainH2).toEqual(plain);
  expect(toldH2).toEqual(told);
  expect(plain?.body).not.toContain('token_revoked');
  expect(told?.body).toContain('"control_type":"token_revoked"');
});
