import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AccountService } from '#gen/tideway/control/v1/account_service_pb.ts';
import { Phase } from '#gen/tideway/stream/v1/message_pb.ts';
import { edgeOverload, edgeSizes } from '../../envoy/limits.ts';
import { listen } from '../support/events.ts';
import { openSocket, type RawSocket } from '../support/raw-socket.ts';
import { eventsUrl, published, type Story, startStory, startStream } from '../support/story.ts';
import { until } from '../support/until.ts';

// What is to be transcoded is held by Envoy until it is whole: from anybody, and on any number of connections.
const heapBytes = 192 * 1_048_576;
/** Less than is announced. */
const unfinished = Buffer.alloc(edgeSizes.transcodedBodyBytes - 1_024, ' ');
const sockets: RawSocket[] = [];
const sessions: ClientHttp2Session[] = [];
let story: Story;

beforeAll(async () => {
  story = await startStory({}, { maxHeapBytes: heapBytes });
});
afterAll(async () => {
  letGo();
  await story?.stop();
});

function letGo(): void {
  for (const each of [...sockets.splice(0), ...sessions.splice(0)]) each.destroy();
}

async function sendOnSocket(): Promise<void> {
  const socket = await openSocket(story.edge.port);
  const head = 'POST /v1/messages:publish HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n';
  socket.write(`${head}Content-Length: ${unfinished.length + 1}\r\n\r\n`);
  socket.write(unfinished);
  sockets.push(socket);
}

/** As many as one connection of HTTP/2 may have, of which only the heads have come. */
function beginOnSession(): ClientHttp2Stream[] {
  const session = connect(story.url);
  session.on('error', () => {});
  sessions.push(session);
  return Array.from({ length: edgeSizes.downstreamStreamsPerConnection }, () => {
    const headers = { ':method': 'POST', ':path': '/v1/messages:publish', 'content-type': 'application/json' };
    return session.request(headers).on('error', () => {});
  });
}

/** Resolves when Envoy has taken it, or has ended the stream. */
function send(stream: ClientHttp2Stream): Promise<void> {
  return new Promise((resolve) => {
    if (stream.closed) return resolve();
    stream.once('close', () => resolve());
    stream.write(unfinished, () => resolve());
  });
}

async function stat(name: string): Promise<number> {
  return Number(/: (\d+)/.exec(await story.edge.admin(`/stats?filter=^${name}$`))?.[1]);
}
const allocatedBytes = async () => Number(JSON.parse(await story.edge.admin('/memory')).allocated);
/** What it takes of its heap, in percent, as it saw it last. */
const pressure = () => stat('overload.envoy.resource_monitors.fixed_heap.pressure');

async function ask(path: string) {
  const headers = { origin: 'http://app.example', 'content-type': 'application/json' };
  const response = await fetch(
    story.url + path,
    path.startsWith('/events/') ? { headers } : { headers, method: 'POST' },
  );
  return { status: response.status, header: (name: string) => response.headers.get(name), text: await response.text() };
}

test('bodies that are never whole take no more than its heap, and whoever listens goes on', async () => {
  const access = await startStream(story.url);
  const heard = await listen(eventsUrl(access));
  const publish = (phase: Phase) =>
    published(story.directUrl, story.development.publish_token, { channelId: access.channel_id, phase });
  const streams = Array.from({ length: 4 }, beginOnSession).flat();
  await until('all have begun', async () => (await stat('http.edge.downstream_rq_active')) > streams.length);

  while ((await pressure()) < edgeOverload.refuseFrom * 100) {
    for (let n = 0; n < 20; n += 1) await sendOnSocket();
    // It looks at its memory now and then.
    if ((await allocatedBytes()) > heapBytes * 0.8) await delay(edgeOverload.refreshSec * 1_200);
  }
  // Nothing is asked of the services, and any page may read the answer: what it may not read ends an EventSource for good.
  const expected = [
    ['/events/1', 200, null, 'retry: 3000\nevent: error\ndata: Service unavailable\n\n'],
    ['/publish/1/x', 503, '1', 'Service unavailable'],
    ['/api/1/envelope/', 503, '1', 'Service unavailable'],
    ['/v1/messages:publish', 503, '1', '{"code":14,"message":"Service unavailable"}\n'],
  ] as const;
  for (const [path, status, retryAfter, text] of expected) {
    const answer = await ask(path);
    expect([path, answer.status, answer.header('retry-after'), answer.text]).toEqual([path, status, retryAfter, text]);
    expect([path, answer.header('access-control-allow-origin')]).toEqual([path, '*']);
    expect(answer.header('access-control-expose-headers')).toContain('retry-after');
  }
  // A browser asks before most calls, and without this its page would not see the answers above; pages of our own alone may
  // call what has cookies, and the intake says its own headers.
  const preflight = { origin: 'http://app.example', 'access-control-request-method': 'POST' };
  const asked = [
    '/publish/1/x',
    '/v1/messages:publish',
    '/auth/oidc',
    `/${AccountService.typeName}/SignIn`,
    '/api/1/envelope/',
  ];
  const allowed: string[] = [];
  for (const path of asked) {
    const answer = await fetch(story.url + path, { method: 'OPTIONS', headers: preflight });
    const names = answer.headers.get('access-control-allow-headers')?.split(', ') ?? [];
    if (answer.ok && names.includes('authorization')) allowed.push(path);
    expect([path, answer.ok, (await answer.text()) === '']).toEqual([path, answer.ok, answer.ok]);
    expect(answer.headers.get('access-control-allow-credentials')).toBe(null);
  }
  expect(allowed).toEqual(asked.slice(0, 2));
  const first = await publish(Phase.DELTA);
  await until('it is heard', () => heard.events().some(({ id }) => id === first));

  // What was let in before may still send.
  await Promise.all(streams.map(send));
  expect((sockets.length + streams.length) * unfinished.length).toBeGreaterThan(heapBytes * 1.2);
  await delay(edgeOverload.refreshSec * 1_200);
  // It cuts a connection when something comes over it; where nothing does, its requests end within half a minute.
  await until('it is within its heap again', async () => (await pressure()) < 100, 40_000);
  const last = await publish(Phase.END);
  expect((await heard.ended()).flatMap(({ id }) => id ?? [])).toEqual([first, last]);

  letGo();
  await until('it takes requests again', async () => (await ask('/publish/1/x')).status === 401);
}, 90_000);
