import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { echo, eventually, h2, held, start, tcp } from './listen-testing.ts';

const FOR_EVER_MS = 600_000;
/** A port where one path has all the time there is. */
const options = (requestTimeoutMs = FOR_EVER_MS) => ({
  limits: { headersTimeoutMs: 50, requestTimeoutMs: 100 },
  slowPaths: [{ owns: (path: string) => path === '/slow', requestTimeoutMs }],
});
const begin = (path: string, length = 'Content-Length: 6') =>
  `POST ${path} HTTP/1.1\r\nHost: a\r\n${length}\r\n\r\n${length.startsWith('T') ? '3\r\nabc\r\n' : 'abc'}`;

/** What has come, while more may come. */
function heardOn(socket: ReturnType<typeof tcp>): () => string {
  let heard = '';
  socket.setEncoding('latin1').on('data', (piece: string) => {
    heard += piece;
  });
  return () => heard;
}

test('a slow path has its own time, and all others what they had', async () => {
  const port = await start(echo, options());
  const slow = tcp(port);
  const heard = heardOn(slow);
  slow.write(begin('/slow?a=/other'));
  // Begun later, and cut: so the slow one has outlasted the deadline of the others.
  for (const path of ['/', '/slow/', '/other?/slow']) {
    for (const length of ['Content-Length: 6', 'Transfer-Encoding: chunked']) {
      const other = tcp(port);
      other.write(begin(path, length));
      expect(await text(other)).toBe('HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n');
    }
  }
  slow.write('def');
  await eventually(() => heard().includes('\n1.1 6\r\n'));
  // Also on the connection that was slow before.
  slow.write(begin('/other'));
  await eventually(() => slow.readableEnded);
  expect(heard()).toMatch(/^HTTP\/1.1 200 .*HTTP\/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n$/s);
});

test('a slow path has an end as well, and so has a head', async () => {
  const port = await start(echo, options(200));
  for (const bytes of [begin('/slow'), 'POST /slow HTTP/1.1\r\nHost: a\r\nX: ']) {
    const socket = tcp(port);
    socket.write(bytes);
    expect(await text(socket)).toContain('408 Request Timeout');
  }
});

test('so it is on h2', async () => {
  const session = h2(await start(echo, options()));
  const upload = (path: string) => {
    const stream = session.request({ ':method': 'POST', ':path': path });
    stream.on('error', () => {}).write('abc');
    return stream.setEncoding('utf8');
  };
  const slow = upload('/slow?a=/other');
  const others = ['/', '/slow/', '/other?/slow'].map(upload);
  await Promise.all(others.map((other) => once(other.resume(), 'close')));
  expect(others.map(({ rstCode }) => rstCode)).not.toContain(0);
  slow.end('def');
  expect(await text(slow)).toBe('2.0 6');
});

test('what was sent whole may be answered for as long as it takes, and a body after an answer has begun is cut silently', async () => {
  const { handler, started, end } = held();
  const port = await start(handler, options());
  const whole = tcp(port);
  const heard = heardOn(whole);
  whole.write(`${begin('/')}def`);
  await started;
  const late = tcp(port);
  late.write(begin('/'));
  const cut = await text(late);
  expect(cut).toContain('begin ');
  expect(cut).not.toContain('408');
  expect(heard()).toContain('begin ');
  expect(whole.closed).toBe(false);
  end('');
});
