import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { request as ask, eventually, h2, start, tcp } from './listen-testing.ts';
import type { NodeHandler } from './node-handler.ts';
import { readBody } from './node-http.ts';
import { Refusal } from './refusal.ts';

const MIB = 1024 * 1024;

/** Takes 10 bytes. Says no only when nothing more of a body is read, or the request is gone. */
const refuseLate: NodeHandler = (request, response) => {
  const answer = (status: number) => {
    response.writeHead(status);
    response.end('the answer');
  };
  readBody(request, 10, () => new Refusal('invalid_argument', { text: 'too large' })).then(
    () => answer(200),
    async () => {
      await eventually(() => request.isPaused() || request.destroyed || request.readableEnded);
      answer(413);
    },
  );
};

test('who sends far too much has the answer before the connection ends', async () => {
  const listening = await start(refuseLate);
  const send = async (head: string, begin = '') => {
    const socket = tcp(listening);
    let heard = '';
    socket.setEncoding('utf8').on('data', (piece: string) => {
      heard += piece;
    });
    socket.write(`POST / HTTP/1.1\r\nHost: a\r\n${head}\r\n\r\n${begin}${'x'.repeat(3 * MIB)}`);
    await eventually(() => socket.closed);
    return heard;
  };
  const all = [send('Content-Length: 3145728'), send('Transfer-Encoding: chunked', '300000\r\n')];
  for (const heard of await Promise.all(all)) expect(heard).toMatch(/^HTTP\/1.1 413 .*\bthe answer\b/s);
  expect(listening.connections()).toBe(0);
});

test('on h2 the stream ends, and the connection goes on', async () => {
  const session = h2(await start(refuseLate));
  const stream = session.request({ ':method': 'POST' });
  stream.on('error', () => {});
  stream.write('x'.repeat(3 * MIB));
  const [headers] = await once(stream, 'response');
  expect(headers[':status']).toBe(413);
  const heard: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => void heard.push(chunk));
  await once(stream, 'close');
  expect(Buffer.concat(heard).toString()).toBe('the answer');
  expect(await text(ask(session, { ':method': 'POST' }, 'short'))).toBe('the answer');
});

test('what is only a little too much is taken to its end, and the connection goes on', async () => {
  const listening = await start(refuseLate);
  const socket = tcp(listening);
  let heard = '';
  socket.setEncoding('latin1').on('data', (piece: string) => {
    heard += piece;
  });
  const post = (body: string) => `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  socket.write(post('x'.repeat(MIB / 2)) + post('short'));
  await eventually(() => heard.split('the answer').length === 3);
  expect(heard.match(/HTTP\/1.1 \d+/g)).toEqual(['HTTP/1.1 413', 'HTTP/1.1 200']);
});
