import { connect as connectH2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { AUTH, EVENT_ID, startEndpoint } from './http-testing.ts';

const ENVELOPE = `{"event_id":"${EVENT_ID}"}\n{"type":"event"}\n{}\n`;
const MIB = 1024 * 1024;

/** Writes what it is given, and reads until the other end closes or `until` has come. */
function raw(port: number, request: string, until = '\0'): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(request));
    onTestFinished(() => void socket.destroy());
    socket.setEncoding('latin1');
    socket.on('error', () => {});
    socket.on('close', () => resolve(answer));
    socket.on('data', (text: string) => {
      answer += text;
      if (answer.includes(until)) resolve(answer);
    });
  });
}

const head = (path: string, headers: Record<string, string | number>) =>
  `POST ${path} HTTP/1.1\r\nHost: a\r\n${Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')}\r\n`;

test('the same answers over HTTP/2', async () => {
  const endpoint = await startEndpoint();
  const session = connectH2(`http://127.0.0.1:${endpoint.port}`);
  onTestFinished(() => session.destroy());
  const post = (path: string, headers: object, body: string) =>
    new Promise<{ status: unknown; headers: object; text: string }>((resolve, reject) => {
      const stream = session.request({ ':path': path, ':method': 'POST', ...headers });
      let answer = {};
      let text = '';
      stream.setEncoding('utf8');
      stream.on('response', (got) => {
        answer = got;
      });
      stream.on('data', (piece: string) => {
        text += piece;
      });
      stream.on('end', () =>
        resolve({ status: (answer as Record<string, unknown>)[':status'], headers: answer, text }),
      );
      stream.on('error', reject);
      stream.end(body);
    });
  const taken = await post('/api/42/envelope/', AUTH, ENVELOPE);
  expect(taken).toMatchObject({
    status: 200,
    text: `{"id":"${EVENT_ID}"}`,
    headers: { 'content-type': 'application/json', 'access-control-allow-origin': '*', 'content-length': '41' },
  });
  expect(endpoint.intake.only.sender.remoteAddr).toBe('127.0.0.1');
  expect(await post('/api/42/envelope/', {}, ENVELOPE)).toMatchObject({ status: 401 });
  expect(await post('/api/42/envelope/', AUTH, '')).toMatchObject({ status: 400 });
  endpoint.intake.answer = () => ({ kind: 'overloaded' });
  expect(await post('/api/42/store/', AUTH, '{}')).toMatchObject({ status: 503, headers: { 'retry-after': '1' } });
});

test('a connection goes on after a refusal whose body was read to its end', async () => {
  const { port } = await startEndpoint();
  const refused = head('/api/42/store/', { 'Content-Length': 5 });
  const taken = head('/api/42/envelope/', { ...AUTH, 'Content-Length': ENVELOPE.length });
  const answer = await raw(port, `${refused}hello${taken}${ENVELOPE}`, EVENT_ID);
  expect(answer.match(/HTTP\/1.1 \d+/g)).toEqual(['HTTP/1.1 401', 'HTTP/1.1 200']);
});

test('who is not let in is answered before the body, and cut if it goes on sending', async () => {
  const { port, errors } = await startEndpoint();
  const refused = head('/api/42/store/', { 'Content-Length': 100 * MIB });
  expect(await raw(port, refused, '\r\n\r\n')).toMatch(/^HTTP\/1.1 401 /);
  // The connection ends after about a MiB; only then does this resolve.
  expect(await raw(port, refused + 'x'.repeat(3 * MIB))).toMatch(/^(HTTP\/1.1 401 |$)/);
  expect(errors).toEqual([]);
});

test('a declared length over the limit is answered at once', async () => {
  const { port } = await startEndpoint();
  const tooLarge = head('/api/42/envelope/', { ...AUTH, 'Content-Length': 201 * MIB });
  expect(await raw(port, tooLarge, '\r\n\r\n')).toMatch(/^HTTP\/1.1 413 /);
});

test('bodies that are being received are bounded together, and who sends more than others leaves room to them', async () => {
  const { port, post } = await startEndpoint({ maxReceivingBytes: MIB });
  const headersOf = (address: string) => ({ ...AUTH, 'x-forwarded-for': address });
  const ask = (address: string) => post('/api/42/envelope/', `${ENVELOPE}${'\n'.repeat(30_000)}`, headersOf(address));
  const fill = async (address: string) => {
    for (let isFull = false; !isFull; isFull = (await ask(address)).status === 503) {
      const socket = connect(port, '127.0.0.1');
      onTestFinished(() => void socket.destroy());
      sockets.push(socket);
      socket.on('error', () => {}).resume();
      socket.write(head('/api/42/envelope/', { ...headersOf(address), 'Content-Length': 10 * MIB }));
      socket.write('x'.repeat(20_000));
    }
  };
  const sockets: Socket[] = [];
  await fill('203.0.113.1');
  expect((await ask('203.0.113.1')).header('retry-after')).toEqual(['1']);
  // Of half a MiB.
  expect(sockets.length).toBeGreaterThan(20);
  expect(await ask('203.0.113.2')).toMatchObject({ status: 200 });
  await fill('203.0.113.2');
  expect(await ask('203.0.113.3')).toMatchObject({ status: 200 });
  for (const socket of sockets) socket.destroy();
  const status = async () => (await ask('203.0.113.1')).status;
  await expect.poll(status, { timeout: 20_000 }).toBe(200);
});
