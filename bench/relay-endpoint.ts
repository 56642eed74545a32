import { fork } from 'node:child_process';
import { Agent, createServer, request } from 'node:http';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { Gate } from '#lib/server/gate.ts';
import { routeHttp } from '#lib/server/http-route.ts';
import { listen } from '#lib/server/listen.ts';
import type { Accepted } from '../services/relay/intake.ts';
import { relayFaces } from '../services/relay/routes.ts';

// `node bench/relay-endpoint.ts [requests]`: the CPU that one event of 1.3 KB costs the process that takes it, with an
// intake that takes everything and does nothing. Beside it, in the same run, a bare node:http server that reads the body
// and answers 200: what is above that is ours. The requests come from this process, over connections that stay.

const REQUESTS = Number(process.argv[2] ?? 40_000);
const CONNECTIONS = 16;
const ROUNDS = 3;
const KEY = '0123456789abcdef0123456789abcdef';
const EVENT_ID = '9ec79c33ec9942ab8353589fcb2e04dc';

if (process.send !== undefined) await serve(process.argv[2] ?? '');
else await compare();

interface Case {
  readonly server: 'bare' | 'relay';
  readonly name: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

async function compare(): Promise<void> {
  const results = new Map<string, number[]>();
  for (let round = 0; round < ROUNDS; round++) {
    for (const each of cases()) {
      const cpuUs = await measure(each);
      results.set(each.name, [...(results.get(each.name) ?? []), cpuUs]);
    }
  }
  for (const [name, cpuUs] of results) {
    process.stdout.write(`${name}: ${cpuUs.map((us) => us.toFixed(1)).join(', ')} us of CPU a request\n`);
  }
}

/** As SDKs send them: Python by header and compressed, Node by query and without length, curl as plain JSON. */
function cases(): Case[] {
  const event = eventOf(1300);
  const header = { 'x-sentry-auth': `Sentry sentry_key=${KEY}, sentry_version=7, sentry_client=sentry.python/2.1.0` };
  const envelope = Buffer.from(
    `{"event_id":"${EVENT_ID}","sent_at":"2026-01-02T03:04:05.678901Z","trace":{"trace_id":"${EVENT_ID}","environment":"production","public_key":"${KEY}"}}\n` +
      `{"type":"event","content_type":"application/json","length":${event.length}}\n${event}\n`,
  );
  const short = Buffer.from(
    `{"event_id":"${EVENT_ID}","sdk":{"name":"sentry.javascript.node"}}\n{"type":"event"}\n${event}`,
  );
  const common = {
    'user-agent': 'sentry.python/2.1.0',
    accept: '*/*',
    'accept-encoding': 'gzip, deflate',
    'x-forwarded-for': '203.0.113.7',
    'x-forwarded-proto': 'https',
    'x-request-id': '5d8aa58f-0a2b-4b2c-9d3e-6f7a8b9c0d1e',
  };
  const path = '/api/42/envelope/';
  return [
    { server: 'bare', name: 'node:http alone', path, headers: { ...common, ...header }, body: envelope },
    { server: 'relay', name: 'envelope', path, headers: { ...common, ...header }, body: envelope },
    {
      server: 'relay',
      name: 'envelope, gzip',
      path,
      headers: { ...common, ...header, 'content-encoding': 'gzip' },
      body: gzipSync(envelope),
    },
    {
      server: 'relay',
      name: 'envelope, by query, without length',
      path: `${path}?sentry_version=7&sentry_key=${KEY}&sentry_client=sentry.javascript.node%2F10.0.0`,
      headers: common,
      body: short,
    },
    {
      server: 'relay',
      name: 'store',
      path: '/api/42/store/',
      headers: { ...common, ...header },
      body: Buffer.from(event),
    },
  ];
}

function eventOf(bytes: number): string {
  const frame = (at: number) => ({
    filename: `/app/src/module${at}.py`,
    function: `call_${at}`,
    lineno: at,
    in_app: true,
  });
  const event = {
    event_id: EVENT_ID,
    level: 'error',
    platform: 'python',
    exception: {
      values: [{ type: 'ValueError', value: 'bad', stacktrace: { frames: [0, 1, 2, 3, 4, 5, 6, 7].map(frame) } }],
    },
    extra: { padding: '' },
  };
  event.extra.padding = 'x'.repeat(Math.max(0, bytes - JSON.stringify(event).length));
  return JSON.stringify(event);
}

/** In a process of its own, warmed up with as many requests again. */
async function measure({ server, path, headers, body }: Case): Promise<number> {
  const child = fork(fileURLToPath(import.meta.url), [server]);
  const port = await messageOf<number>(child);
  await sendAll(port, path, headers, body);
  const cpuUs = async () => {
    child.send('cpu');
    return messageOf<number>(child);
  };
  const before = await cpuUs();
  await sendAll(port, path, headers, body);
  const used = (await cpuUs()) - before;
  child.disconnect();
  return used / REQUESTS;
}

function messageOf<T>(child: ReturnType<typeof fork>): Promise<T> {
  return new Promise((resolve, reject) => {
    child.once('message', (message) => resolve(message as T));
    child.once('exit', () => reject(new Error('the server is gone')));
  });
}

async function sendAll(port: number, path: string, headers: Case['headers'], body: Buffer): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  let left = REQUESTS;
  const one = () =>
    new Promise<void>((resolve, reject) => {
      const options = { port, path, method: 'POST', agent, headers: { ...headers, 'content-length': body.length } };
      const sending = request({ ...options, host: '127.0.0.1' }, (response) => {
        if (response.statusCode !== 200) reject(new Error(`answered ${response.statusCode}`));
        response.resume().on('end', resolve);
      });
      sending.on('error', reject).end(body);
    });
  const worker = async () => {
    while (left-- > 0) await one();
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, worker));
  agent.destroy();
}

async function serve(kind: string): Promise<void> {
  const port = kind === 'bare' ? await serveBare() : await serveRelay();
  process.on('message', () => {
    const { user, system } = process.cpuUsage();
    process.send?.(user + system);
  });
  process.on('disconnect', () => process.exit(0));
  process.send?.(port);
}

function serveBare(): Promise<number> {
  const server = createServer((incoming, response) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => response.writeHead(200, { 'content-length': 2 }).end('{}'));
  });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : 0);
    });
  });
}

async function serveRelay(): Promise<number> {
  const taken: Accepted = { kind: 'queued', limits: [], settled: Promise.resolve(true) };
  const onError = (error: unknown) => process.stderr.write(`${String(error)}\n`);
  const faces = relayFaces({ gate: new Gate({}), intake: { accept: () => taken }, isRelay: () => false, onError });
  const handler = routeHttp(faces.http, onError, faces.trees);
  return (await listen({ host: '127.0.0.1', port: 0, handler, onError })).port;
}
