import { once } from 'node:events';
import { connect, constants, type IncomingHttpHeaders } from 'node:http2';
import { text } from 'node:stream/consumers';
import { afterEach, expect, test } from 'vitest';
import { type Listening, listen } from './listen.ts';
import type { NodeHandler } from './node-handler.ts';

let listening: Listening | undefined;
afterEach(() => listening?.destroy());

/** Writes as connect-node does. */
function answering(contentType: string, messages: readonly string[]): NodeHandler {
  return (_request, response) => {
    response.writeHead(200, { 'content-type': contentType });
    for (const message of messages) response.write(message);
    if (!response.headersSent) response.writeHead(200, { 'content-type': contentType });
    response.addTrailers({ 'grpc-status': '5', 'grpc-message': 'unknown' });
    response.end();
  };
}

async function ask(handler: NodeHandler) {
  listening = await listen({ host: '127.0.0.1', port: 0, handler });
  const session = connect(`http://127.0.0.1:${listening.port}`);
  const stream = session.request({ ':path': '/', ':method': 'POST' });
  let trailers: IncomingHttpHeaders = {};
  stream.on('trailers', (received) => {
    trailers = received;
  });
  const [headers, flags] = (await once(stream, 'response')) as [IncomingHttpHeaders, number];
  const body = await text(stream);
  session.destroy();
  return { headers, endsAtOnce: (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0, body, trailers };
}

test('a gRPC call without a message is answered in one piece', async () => {
  const { headers, endsAtOnce, body, trailers } = await ask(answering('application/grpc+proto', []));
  expect(headers).toMatchObject({
    ':status': 200,
    'content-type': 'application/grpc+proto',
    'grpc-status': '5',
    'grpc-message': 'unknown',
  });
  expect([endsAtOnce, body, trailers]).toEqual([true, '', {}]);
});

test('with a message its status comes after it', async () => {
  const { headers, endsAtOnce, body, trailers } = await ask(answering('application/grpc', ['one', 'two']));
  expect(headers).not.toHaveProperty('grpc-status');
  expect([endsAtOnce, body]).toEqual([false, 'onetwo']);
  expect(trailers).toMatchObject({ 'grpc-status': '5' });
});

test('other answers are sent as they are written', async () => {
  for (const contentType of ['application/grpc-web+proto', 'text/event-stream']) {
    const { headers, endsAtOnce, trailers } = await ask(answering(contentType, []));
    expect([headers['content-type'], endsAtOnce]).toEqual([contentType, false]);
    expect(trailers).toMatchObject({ 'grpc-status': '5' });
    listening?.destroy();
  }
});
