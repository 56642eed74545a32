import { createServer, type Server } from 'node:http';
import { type ClientHttp2Session, connect } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { edgeSizes } from '../../envoy/limits.ts';
import { startEdge } from '../support/edge.ts';
import { until } from '../support/until.ts';

/** Answers each request when it has all of it. */
async function startRelay(onBegun: () => void): Promise<Server> {
  const server = createServer((request, response) => {
    if (request.method === 'POST') onBegun();
    request.resume().on('end', () => response.end('whole'));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return server;
}

test('each relay has as many connections of the edge, so that a share of them is that share with any number of relays', async () => {
  let begun = 0;
  const relays = await Promise.all([startRelay(() => begun++), startRelay(() => begun++)]);
  const ports = relays.map((relay) => (relay.address() as AddressInfo).port);
  const edge = await startEdge({ publish: [], stream: [], relay: ports }, {}, 'checked');
  onTestFinished(() => edge.stop());
  const answerOf = async () => {
    const response = await fetch(`${edge.url}/api/1/envelope/`, { method: 'POST', body: '{}' });
    return [response.status, await response.text()];
  };
  await until('both are there', async () => (await answerOf())[0] === 200);
  begun = 0;

  const sessions: ClientHttp2Session[] = [];
  onTestFinished(() => {
    for (const session of sessions) session.destroy();
  });
  const bodies = edgeSizes.upstreamConnections + 200;
  for (let opened = 0; opened < bodies; opened += edgeSizes.downstreamStreamsPerConnection) {
    const session = connect(edge.url).on('error', () => {});
    sessions.push(session);
    for (let n = opened; n < Math.min(bodies, opened + edgeSizes.downstreamStreamsPerConnection); n += 1) {
      const stream = session.request({ ':method': 'POST', ':path': '/api/1/envelope/' }).on('error', () => {});
      stream.write('{');
    }
  }
  await until('all are being received', () => begun === bodies);
  expect(await answerOf()).toEqual([200, 'whole']);
}, 60_000);
