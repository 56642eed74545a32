import { type ClientHttp2Stream, connect as connectH2 } from 'node:http2';
import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { test } from 'vitest';
import { ask } from '../../test/support/raw-request.ts';
import { until } from '../../test/support/until.ts';
import { AUTH, EVENT_ID, startService } from './http-testing.ts';

const ENVELOPE = `{"event_id":"${EVENT_ID}"}\n{"type":"event"}\n{}\n`;
const FORM =
  '--b\r\nContent-Disposition: form-data; name="upload_file_minidump"; filename="a"\r\n\r\nMDMP\r\n--b--\r\n';
const MAX_BODIES = 3;
const ADDRESS = '203.0.113.1';

/** What is sent, by how it is to be taken. */
const REQUESTS = {
  envelope: { path: '/api/2/envelope/', headers: AUTH, body: Buffer.from(ENVELOPE) },
  stranger: { path: '/api/2/store/', headers: {}, body: Buffer.from('{}') },
  malformed: { path: '/api/2/envelope/', headers: AUTH, body: Buffer.from('}\n{') },
  garbled: {
    path: '/api/2/envelope/',
    headers: { ...AUTH, 'content-encoding': 'gzip' },
    body: Buffer.alloc(50_000, 7),
  },
  zipped: { path: '/api/2/envelope/', headers: { ...AUTH, 'content-encoding': 'gzip' }, body: gzipSync(ENVELOPE) },
  unknown: { path: '/api/2/envelope/', headers: { ...AUTH, 'content-encoding': 'rar' }, body: Buffer.from('x') },
  large: { path: '/api/2/security/', headers: AUTH, body: Buffer.alloc(1_500_000) },
  form: {
    path: '/api/2/minidump/',
    headers: { ...AUTH, 'content-type': 'multipart/form-data; boundary=b' },
    body: Buffer.from(FORM),
  },
} as const;

const story = fc.record({
  what: fc.constantFrom(...(Object.keys(REQUESTS) as (keyof typeof REQUESTS)[])),
  isH2: fc.boolean(),
  isDeclared: fc.boolean(),
  /** How much of the body is sent, of 1. */
  sent: fc.constantFrom(0, 0.5, 1, 1),
  /** What then becomes of it: the connection goes, the request alone, or nothing until the server ends it. */
  end: fc.constantFrom('cut', 'reset', 'wait'),
});
type Story = typeof story extends fc.Arbitrary<infer T> ? T : never;

test('however a request ends, it is under way no more', async () => {
  const service = await startService({ requestTimeoutMs: 150, maxBodiesPerAddress: MAX_BODIES });
  const { port } = new URL(service.url);

  function tellOne({ what, isDeclared, sent, end }: Story): Promise<void> {
    const { path, headers, body } = REQUESTS[what];
    const all = { ...headers, 'x-forwarded-for': ADDRESS };
    const length = isDeclared ? { 'Content-Length': body.byteLength } : { 'Transfer-Encoding': 'chunked' };
    const lines = Object.entries({ Host: 'a', ...all, ...length }).map(([name, value]) => `${name}: ${value}\r\n`);
    const part = body.subarray(0, Math.floor(sent * body.byteLength));
    const socket = connect(Number(port), '127.0.0.1');
    socket.on('error', () => {}).resume();
    socket.write(`POST ${path} HTTP/1.1\r\n${lines.join('')}\r\n`);
    if (part.byteLength > 0) {
      if (!isDeclared) socket.write(`${part.byteLength.toString(16)}\r\n`);
      socket.write(part);
      if (!isDeclared) socket.write(sent < 1 ? '\r\n' : '\r\n0\r\n\r\n');
    }
    return new Promise((resolve) => {
      socket.on('close', () => resolve());
      if (end === 'cut') socket.once('data', () => socket.destroy());
      if (end === 'reset') setTimeout(() => socket.resetAndDestroy(), 5);
      setTimeout(() => socket.destroy(), 600);
    });
  }

  function tellOneOverH2({ what, isDeclared, sent, end }: Story): Promise<void> {
    const { path, headers, body } = REQUESTS[what];
    const length = isDeclared ? { 'content-length': body.byteLength } : {};
    const session = connectH2(service.url).on('error', () => {});
    const stream: ClientHttp2Stream = session.request({
      ...{ ':method': 'POST', ':path': path, ...headers, ...length, 'x-forwarded-for': ADDRESS },
    });
    stream.on('error', () => {}).resume();
    stream.write(body.subarray(0, Math.floor(sent * body.byteLength)));
    if (sent === 1) stream.end();
    return new Promise((resolve) => {
      session.on('close', () => resolve());
      stream.on('close', () => session.destroy());
      if (end === 'cut') setTimeout(() => session.destroy(), 5);
      if (end === 'reset') setTimeout(() => stream.close(8), 5);
      setTimeout(() => session.destroy(), 600);
    });
  }

  const send = () =>
    ask(`${service.url}/api/2/envelope/`, {
      method: 'POST',
      headers: { ...AUTH, 'x-forwarded-for': ADDRESS },
      body: ENVELOPE,
    });
  const tell = (each: Story) => (each.isH2 ? tellOneOverH2(each) : tellOne(each));
  await fc.assert(
    fc.asyncProperty(fc.array(story, { minLength: 1, maxLength: 12 }), async (stories) => {
      await Promise.all(stories.map(tell));
      await until('there is room for all', async () => {
        const begun = Array.from({ length: MAX_BODIES }, () => {
          const socket = connect(Number(port), '127.0.0.1').on('error', () => {});
          socket.resume();
          const head = Object.entries({ Host: 'a', ...AUTH, 'x-forwarded-for': ADDRESS, 'Content-Length': 10 });
          socket.write(`POST /api/2/envelope/ HTTP/1.1\r\n${head.map(([n, v]) => `${n}: ${v}\r\n`).join('')}\r\n{`);
          return socket;
        });
        const answers = await Promise.all(
          begun.map(
            (socket) =>
              new Promise<string>((resolve) => {
                socket.once('data', (data) => resolve(data.toString('latin1')));
                socket.once('close', () => resolve(''));
              }),
          ),
        );
        for (const socket of begun) socket.destroy();
        return answers.every((answer) => !answer.includes(' 429 '));
      });
      await until('and for one that is whole', async () => (await send()).status === 200);
    }),
    { numRuns: 12 },
  );
}, 120_000);
