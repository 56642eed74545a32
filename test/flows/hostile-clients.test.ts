import { randomBytes } from 'node:crypto';
import { Agent, request } from 'node:http';
import { connect as connectH2 } from 'node:http2';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type ControlStream, startControlStream } from '../support/control-stream.ts';
import { listen } from '../support/events.ts';
import { ask } from '../support/raw-request.ts';
import { exchange, openSocket, type RawSocket } from '../support/raw-socket.ts';
import { eventsUrl, type Story, type StreamAccess, startStory, startStream } from '../support/story.ts';
import { until } from '../support/until.ts';

// Clients that mean harm, at the edge and straight at the process: an ordinary stream goes on beside every test, and
// nothing grows without bound.
const ADDRESS_IS_FULL =
  'an address has as many requests under way as it may: if it is a proxy’s, EDGE_TRUSTED_HOPS is too small';
let story: Story;
let control: ControlStream;
/** Begun first and looked at last: each is ended by a deadline of some seconds. */
let slow: Record<'headers' | 'body' | 'silent' | 'halfClosed', RawSocket[]>;

beforeAll(async () => {
  story = await startStory();
  control = await startControlStream(story);
  slow = await openSlowSockets();
});
afterEach(() => control.check());
afterAll(async () => {
  await control?.end([ADDRESS_IS_FULL]);
  await story?.stop();
});

const ports = () => [story.edge.port, story.monolith.port];
const bases = () => [story.url, story.directUrl];

/** Slow-loris: many that send a byte now and then, and others that send nothing or leave half of the connection. */
async function openSlowSockets() {
  const open = async (count: number, first: string): Promise<RawSocket[]> => {
    const sockets = await Promise.all(ports().flatMap((port) => Array.from({ length: count }, () => openSocket(port))));
    for (const socket of sockets) if (first !== '') socket.write(first);
    return sockets;
  };
  const publishHead =
    `POST /publish/1/${crypto.randomUUID()} HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n` +
    `Authorization: Bearer ${story.development.publish_token}\r\n\r\n`;
  const sockets = {
    headers: await open(50, 'GET /healthz HTTP/1.1\r\nHost: x\r\n'),
    body: await open(20, publishHead),
    silent: await open(50, ''),
    halfClosed: await open(20, 'GET /healthz HTTP/1.1\r\n'),
  };
  for (const socket of sockets.halfClosed) socket.halfClose();
  const drip = setInterval(() => {
    for (const socket of sockets.headers) if (!socket.isClosed()) socket.write('a: b\r\n');
    for (const socket of sockets.body) if (!socket.isClosed()) socket.write('x');
  }, 1000);
  drip.unref();
  return sockets;
}

test('10,000 bad tokens, as fast as they go, are each told so', async () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 32 });
  const channelId = crypto.randomUUID();
  const tokens = ['x', 'a.b.c', `${'a'.repeat(300)}.${'b'.repeat(300)}.${'c'.repeat(300)}`, 'y'.repeat(8_000)];
  const forged = (await startStream(story.url)).token.replace(/.{8}$/, 'AAAAAAAA');
  const answers = new Map<string, number>();
  const send = (n: number) =>
    new Promise<void>((resolve, reject) => {
      const token = n % 5 === 4 ? forged : tokens[n % 5];
      const isPublish = n % 2 === 0;
      const path = isPublish ? `/publish/1/${channelId}` : `/events/1?token=${token}&channel_id=${channelId}`;
      const headers = isPublish ? { Authorization: `Bearer ${token}` } : {};
      const asking = request(`${bases()[n % 2]}${path}`, { agent, method: isPublish ? 'POST' : 'GET', headers });
      asking.on('response', (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => {
          const answer = `${response.statusCode} ${text}`;
          answers.set(answer, (answers.get(answer) ?? 0) + 1);
          resolve();
        });
      });
      asking.on('error', reject);
      asking.end();
    });
  let next = 0;
  const worker = async () => {
    while (next < 10_000) await send(next++);
  };
  await Promise.all(Array.from({ length: 32 }, worker));
  agent.destroy();
  expect(Object.fromEntries(answers)).toEqual({ '401 Token validation failed': 5_000, '401 Invalid token': 5_000 });
});

describe('a hostile Last-Event-ID', () => {
  let access: StreamAccess;
  beforeAll(async () => {
    access = await startStream(story.url);
  });

  test.for([
    'x'.repeat(9_000),
    '9'.repeat(2_000),
    '1-1, 1-2',
    '-1',
    '1e9',
    '0x10',
    '1.5-0',
    '18446744073709551616',
    "' OR 1=1 --",
    '<script>alert(1)</script>',
    '%24%7Bjndi:ldap://x%7D',
    '../../etc/passwd',
    '$',
    '+',
    '>',
    '*',
    'null',
    '{}',
  ])('is a 400 that does not repeat it: %s', async (id) => {
    for (const base of bases()) {
      const url = eventsUrl({ ...access, url: `${base}/events/1` });
      for (const answer of [
        await ask(url, { headers: { 'Last-Event-ID': id } }),
        await ask(`${url}&last_event_id=${encodeURIComponent(id)}`),
      ]) {
        expect([answer.status, answer.text]).toEqual([400, 'last_event_id: must be an event id, <ms>-<n>']);
      }
    }
  });

  test('of the right form only moves the cursor', async () => {
    for (const id of ['0', '0-0', '00000000000000000000000000000001-1', '18446744073709551615-18446744073709551615']) {
      const response = await listen(eventsUrl(access), { 'Last-Event-ID': id });
      expect([id, response.status]).toEqual([id, 200]);
      response.close();
    }
  });
});

describe('line breaks', () => {
  const encoded = '%0d%0aInjected:%20yes%0d%0a%0d%0a';

  test('in paths and queries reach no header and no event', async () => {
    const access = await startStream(story.url);
    for (const base of bases()) {
      for (const path of [
        `/${encoded}`,
        `/events/1${encoded}?token=${access.token}&channel_id=${access.channel_id}`,
        `/events/1?token=${encoded}&channel_id=${access.channel_id}`,
        `/events/1?token=${access.token}&channel_id=${access.channel_id}${encoded}`,
        `/events/1?token=${access.token}&channel_id=${access.channel_id}&last_event_id=1-1${encoded}`,
        `/publish/1/${encoded}`,
        `/v1/organizations/1${encoded}/streams`,
        `/console/main.js${encoded}`,
      ]) {
        const answer = await ask(`${base}${path}`, { method: path.startsWith('/publish') ? 'POST' : 'GET' });
        expect([path, answer.status]).toEqual([path, expect.toSatisfy((status) => status >= 400 && status < 500)]);
        expect(answer.header('injected')).toEqual([]);
      }
    }
  });

  test.for([
    ['a header', 'GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\rInjected: yes\r\nConnection: close\r\n\r\n'],
    ['a path', 'GET /healthz\rx HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'],
    ['a name', 'GET /healthz HTTP/1.1\r\nHost: x\r\nA\r: b\r\nConnection: close\r\n\r\n'],
    ['a method', 'GE\rT /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'],
  ] as const)('sent bare in %s are not passed on', async ([, text]) => {
    expect(await exchange(story.monolith.port, text)).toMatch(/^HTTP\/1\.1 400 /);
    const answer = await exchange(story.edge.port, text);
    expect(answer).toMatch(/^HTTP\/1\.1 (?:200|400) /);
    expect(answer.toLowerCase()).not.toContain('\ninjected');
  });

  test('that would smuggle a second request do not', async () => {
    const inner = 'GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n';
    for (const port of ports()) {
      for (const head of [
        `POST /publish/1/x HTTP/1.1\r\nHost: x\r\nContent-Length: ${inner.length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
        'POST /publish/1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
        'POST /publish/1/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n',
      ]) {
        const answer = await exchange(port, head + inner);
        expect(answer).toMatch(/^HTTP\/1\.1 (?:400|501) /);
        expect(answer.match(/HTTP\/1\.1 /g)).toHaveLength(1);
      }
    }
  });
});

test('a Host that is none is a 400, and what came with it is not logged', async () => {
  for (const base of bases()) {
    const url = `${base}/tideway.stream.v1.StreamService/StartStream?token=not-to-be-logged`;
    for (const host of ['[', 'a:99999', 'a b', '%']) {
      const answer = await ask(url, {
        method: 'POST',
        headers: { host, 'content-type': 'application/json' },
        body: '{}',
      });
      expect([host, answer.status]).toEqual([host, 400]);
    }
  }
  expect(story.monolith.output()).not.toContain('not-to-be-logged');
});

describe('floods', () => {
  test('of headers are refused', async () => {
    for (const port of ports()) {
      const head = 'GET /healthz HTTP/1.1\r\nHost: x\r\n';
      expect(await exchange(port, `${head}${'a: b\r\n'.repeat(200)}\r\n`)).toMatch(/^HTTP\/1\.1 431 /);
      expect(await exchange(port, `${head}a: ${'b'.repeat(20_000)}\r\n\r\n`)).toMatch(/^HTTP\/1\.1 431 /);
      expect(await exchange(port, `GET /${'a'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`)).toMatch(
        /^HTTP\/1\.1 431 /,
      );
    }
  });

  test('of garbage are answered, or end their connection', async () => {
    const tls = Buffer.concat([Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]), randomBytes(500)]);
    const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    const kinds = [
      tls,
      Buffer.alloc(2_000),
      Buffer.concat([preface, Buffer.alloc(100, 0xff)]),
      ...Array.from({ length: 20 }, () => Buffer.concat([Buffer.from([0x80]), randomBytes(1_000)])),
    ];
    const answers = await Promise.all(ports().flatMap((port) => kinds.map((garbage) => exchange(port, garbage))));
    for (const answer of answers) expect(answer).toMatch(/^$|^HTTP\/1\.1 4\d\d |^\0\0/);
  });

  test('of streams that are reset as soon as they are opened end their own connection', async () => {
    for (const base of bases()) {
      const session = connectH2(base);
      session.on('error', () => {});
      let opened = 0;
      while (opened < 20_000 && !session.closed && !session.destroyed) {
        for (let i = 0; i < 500 && !session.closed && !session.destroyed; i++, opened++) {
          const stream = session.request({ ':path': '/readyz' });
          stream.on('error', () => {});
          stream.close(8);
        }
        await delay(1);
      }
      session.destroy();
      expect(opened).toBeLessThan(20_000);
      expect((await ask(`${base}/readyz`)).status).toBe(200);
    }
  });

  test('of connections that are reset in the middle of anything harm nobody else', async () => {
    for (const port of ports()) {
      for (let n = 0; n < 200; n++) {
        const socket = await openSocket(port);
        socket.write(['', 'G', 'POST /publish/1/x HTTP/1.1\r\nContent-Length: 9\r\n\r\n', 'PRI * HT'][n % 4] ?? '');
        socket.destroy();
      }
    }
  });
});

test('bodies that one address sends slowly take no more than its share of the way to the relay', async () => {
  const { username: key, pathname: project } = new URL(story.development.dsn);
  const path = `/api${project}/envelope/?sentry_key=${key}`;
  const answers = new Map<number, number>();
  const sessions = Array.from({ length: 9 }, () => connectH2(story.url));
  for (const session of sessions) {
    session.on('error', () => {});
    for (let n = 0; n < 240; n++) {
      const stream = session.request({ ':method': 'POST', ':path': path, 'content-length': '1000' });
      stream.on('error', () => {});
      stream.on('response', ({ ':status': status = 0 }) => answers.set(status, (answers.get(status) ?? 0) + 1));
      stream.resume().write('{');
    }
  }
  await until('all but its share are refused', () => answers.get(429) === 9 * 240 - 256);
  expect([...answers.keys()]).toEqual([429]);

  const post = (localAddress: string) =>
    new Promise<number | undefined>((resolve, reject) => {
      const asking = request(`${story.url}${path}`, { method: 'POST', localAddress, agent: false });
      asking.on('response', (response) => resolve(response.resume().statusCode));
      asking.on('error', reject);
      asking.end('{}\n');
    });
  expect(await post('127.0.0.1')).toBe(429);
  expect(await post('127.0.0.2')).toBe(200);
  for (const session of sessions) session.destroy();
  await until('it may again', async () => (await post('127.0.0.1')) === 200);
});

// Last, as they were begun first.
describe('who is too slow is ended', () => {
  test('with headers that never end', async () => {
    for (const text of await Promise.all(slow.headers.map(({ closed }) => closed))) {
      expect(text).toMatch(/^$|^HTTP\/1\.1 408 /);
    }
  });

  test('with half of a connection', async () => {
    for (const text of await Promise.all(slow.halfClosed.map(({ closed }) => closed))) {
      expect(text).toMatch(/^$|^HTTP\/1\.1 4\d\d /);
    }
  });

  test('with nothing at all, by the process; the edge lets a few wait', async () => {
    const direct = slow.silent.slice(slow.silent.length / 2);
    expect(await Promise.all(direct.map(({ closed }) => closed))).toEqual(direct.map(() => ''));
    for (const socket of slow.silent) socket.destroy();
  });

  test('with a body that never ends', async () => {
    for (const text of await Promise.all(slow.body.map(({ closed }) => closed))) {
      expect(text).toMatch(/^HTTP\/1\.1 408 /);
    }
  });
});
