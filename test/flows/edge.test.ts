import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { wantsLanes } from '#lib/server/h2-lanes/wants-lanes.ts';
import { edgeSizes } from '../../envoy/limits.ts';
import { type Edge, startEdge } from '../support/edge.ts';
import { freePort } from '../support/free-port.ts';
import { type Story, startStory } from '../support/story.ts';

// What Envoy answers itself, when it does not pass a request on.

const origin = { origin: 'http://app.example' };
const json = { 'content-type': 'application/json' };

describe('with nobody behind it', () => {
  let edge: Edge;

  beforeAll(async () => {
    const nobody = [await freePort()];
    edge = await startEdge({ publish: nobody, stream: nobody, web: nobody }, {}, 'checked');
  });
  afterAll(() => edge.stop());

  test('a listener is told to come back, in its own language: EventSource gives up on any other status', async () => {
    const response = await fetch(`${edge.url}/events/1?token=t&channel_id=${randomUUID()}`, { headers: origin });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    expect(response.headers.get('cache-control')).toBe('no-cache, no-transform');
    expect(response.headers.get('access-control-allow-origin')).toBe(origin.origin);
    expect(await response.text()).toBe('retry: 3000\nevent: error\ndata: Service unavailable\n\n');
  });

  test.each([
    ['/publish/1/x', 'Service unavailable'],
    ['/tideway.stream.v1.PublishService/Publish', 'Service unavailable'],
    ['/', 'Service unavailable'],
  ])('POST %s may be tried again', async (path, text) => {
    const response = await fetch(edge.url + path, { method: 'POST', body: '', headers: json });
    expect([response.status, response.headers.get('retry-after'), await response.text()]).toEqual([503, '1', text]);
  });

  test('an SDK in a page may read when to come again', async () => {
    const response = await fetch(`${edge.url}/api/1/envelope/`, { method: 'POST', headers: origin });
    expect([response.status, await response.text()]).toEqual([503, 'Service unavailable']);
    expectReadable(response);
  });

  test.each(['/v1/messages:publish', '/v1/organizations/1/streams'])('POST %s as well, in JSON', async (path) => {
    const response = await fetch(edge.url + path, { method: 'POST', body: '{}', headers: json });
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1']);
    expect(await response.json()).toEqual({ code: 14, message: 'Service unavailable' });
  });
});

test('Envoy asks for lanes where it has listeners, and nowhere else', async () => {
  const [publish, stream] = await Promise.all([firstBytesTo(), firstBytesTo()]);
  const edge = await startEdge({ publish: [publish.port], stream: [stream.port] }, {}, 'checked');
  try {
    expect(wantsLanes(await publish.seen)).toBe(false);
    expect(wantsLanes(await stream.seen)).toBe(true);
  } finally {
    await edge.stop();
    publish.close();
    stream.close();
  }
});

/** A port on which nobody answers, and what the first connection to it begins with: a look at its health. */
async function firstBytesTo() {
  const server = createServer().listen(0, '127.0.0.1');
  const seen = once(server, 'connection').then(async ([socket]) => (await once(socket, 'data'))[0] as Buffer);
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, seen, close: () => server.close() };
}

describe('with the product behind it', () => {
  let story: Story;

  beforeAll(async () => {
    story = await startStory();
  });
  afterAll(() => story.stop());

  const post = (path: string, body: string) => fetch(story.url + path, { method: 'POST', body, headers: json });

  test.each(['/events/1', '/v1/messages:publish', '/tideway.stream.v1.StreamService/Subscribe', '/publish/1/x'])(
    'pages of any origin may call %s',
    async (path) => {
      const preflight = await fetch(story.url + path, {
        method: 'OPTIONS',
        headers: {
          ...origin,
          'access-control-request-method': 'POST',
          'access-control-request-headers': 'authorization',
        },
      });
      expect(preflight.ok).toBe(true);
      expect(preflight.headers.get('access-control-allow-origin')).toBe(origin.origin);
      expect(preflight.headers.get('access-control-allow-headers')?.split(', ')).toContain('authorization');
      // One value, although services send their own.
      const response = await fetch(story.url + path, { method: 'POST', headers: origin });
      expect(response.headers.get('access-control-allow-origin')).toBe(origin.origin);
    },
  );

  test.each([
    ['JSON that is none', '/v1/messages:publish', '{"org_id":'],
    ['an enum value that is none', '/v1/messages:publish', '{"phase":"PHASE_NONE"}'],
    ['a query that nobody knows', '/v1/messages:publish?last_evnt_id=1', '{}'],
    ['a body that contradicts its path', '/v1/organizations/1/streams', '{"organization":"2"}'],
  ])('%s is a bad request', async (_, path, body) => {
    const response = await post(path, body);
    expect(response.status).toBe(400);
    expect(await response.json()).toEqual({ code: 3, message: expect.stringMatching(/./) });
  });

  test('a JSON body has a bound, and the largest message written at its longest is within it', async () => {
    const largest = JSON.stringify({ payload: { text: '' } }).replace('""', `"${'\\u0001'.repeat(16_384)}"`);
    expect((await post('/v1/messages:publish', largest)).status).toBe(401);
    const tooLarge = await post('/v1/messages:publish', ' '.repeat(edgeSizes.transcodedBodyBytes + 1));
    expect(tooLarge.status).toBe(413);
    expect(await tooLarge.json()).toEqual({ code: 8, message: 'Request too large' });
  });

  test.each(['/publish/1%2Fx', '/publish/1%5Cx'])('%s is no path', async (path) => {
    expect((await post(path, '')).status).toBe(400);
  });

  test('more headers than a service takes are refused here', async () => {
    const many = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`x-many-${i}`, 'x']));
    expect((await fetch(`${story.url}/healthz`, { headers: many })).status).toBe(431);
    expect((await fetch(`${story.url}/healthz`, { headers: { large: 'x'.repeat(16_384) } })).status).toBe(431);
  });

  test('HTTP/1.0 and what is no HTTP end their connection and nothing else', async () => {
    for (const bytes of ['GET /healthz HTTP/1.0\r\n\r\n', '\0\x01\x02\r\n\r\n', 'PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n']) {
      expect(await exchange(new URL(story.url).port, bytes)).not.toContain(' 200 ');
    }
    expect((await fetch(`${story.url}/healthz`)).status).toBe(200);
  });
});

describe('a rate for each address', () => {
  let story: Story;

  beforeAll(async () => {
    story = await startStory({}, { ratePerAddressPerSec: 1, trustedHops: 1 });
  });
  afterAll(() => story.stop());

  const ask = (path: string, address: string) => fetch(story.url + path, { headers: { 'x-forwarded-for': address } });

  /** Asks until it is refused. The bucket holds two, and one comes each second. */
  async function refused(path: string, address: (asked: number) => string): Promise<Response> {
    for (let asked = 0; asked < 50; asked += 1) {
      const response = await ask(path, address(asked));
      if (response.headers.has('retry-after')) return response;
      await response.body?.cancel();
    }
    throw new Error(`${address(0)} was never refused`);
  }

  test('is its own, answers when to come again, and ends no EventSource', async () => {
    const response = await refused('/healthz', () => '198.51.100.1');
    expect([response.status, response.headers.get('retry-after')]).toEqual([429, '1']);
    expect((await ask('/healthz', '198.51.100.2')).status).toBe(200);
    const listener = await refused('/events/1', () => '198.51.100.3');
    expect(listener.status).toBe(200);
    expect(await listener.text()).toBe('retry: 3000\nevent: error\ndata: Rate limit exceeded\n\n');
    expectReadable(await refused('/api/1/envelope/', () => '198.51.100.5'));
    const api = await refused('/v1/nothing', () => '198.51.100.4');
    expect(await api.json()).toEqual({ code: 8, message: 'Rate limit exceeded' });
  });

  test('is shared by a network of IPv6, whose owner has all its addresses', async () => {
    expect((await refused('/healthz', (asked) => `2001:db8:1:1::${asked}`)).status).toBe(429);
    for (let network = 2; network < 12; network += 1) {
      expect((await ask('/healthz', `2001:db8:1:${network}::1`)).status).toBe(200);
    }
  });
});

/** By pages of any origin, as is all that the intake answers. */
function expectReadable({ headers }: Response): void {
  expect(headers.get('access-control-allow-origin')).toBe('*');
  expect(headers.get('access-control-expose-headers')).toContain('retry-after');
  expect(headers.get('retry-after')).toBe('1');
}

/** Sends bytes, and returns what comes back until the other end closes. */
function exchange(port: string, bytes: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(Number(port), '127.0.0.1', () => socket.write(bytes));
    socket.setEncoding('latin1').on('data', (text: string) => {
      answer += text;
    });
    socket.on('error', () => resolve(answer));
    socket.on('close', () => resolve(answer));
  });
}
