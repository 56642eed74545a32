import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

// The least that node:http can do, for comparison: no tokens, no checks, no order, nothing kept. What is posted to a
// channel goes to its listeners as it is, in one buffer for all of them.

const listeners = new Map<string, Set<ServerResponse>>();

const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://localhost');
  if (request.method === 'GET') {
    const channelId = url.searchParams.get('channel_id') ?? '';
    let listening = listeners.get(channelId);
    if (listening === undefined) {
      listening = new Set();
      listeners.set(channelId, listening);
    }
    const joined = listening.add(response);
    response.on('close', () => joined.delete(response));
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
    response.write('retry: 500\n\n');
    return;
  }
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const event = Buffer.concat([Buffer.from('event: stream\ndata: '), ...chunks, Buffer.from('\n\n')]);
    for (const listener of listeners.get(url.pathname.split('/')[3] ?? '') ?? []) listener.write(event);
    response.end('1-1');
  });
});

server.listen({ port: 0, host: '127.0.0.1', backlog: 511 }, () => {
  process.send?.((server.address() as AddressInfo).port);
});
process.on('disconnect', () => process.exit(0));
