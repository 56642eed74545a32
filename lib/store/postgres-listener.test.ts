import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { until } from '../../test/support/until.ts';
import { listenForMutations } from './postgres-listener.ts';

/** `R`: authenticated; `Z`: ready for queries. */
const READY = Buffer.from('520000000800000000' + '5a0000000549', 'hex');

test('ends at once also where the server has fallen silent before it listened', async () => {
  const sockets: Socket[] = [];
  const queries: string[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.once('data', () => {
      socket.write(READY);
      socket.on('data', (data) => queries.push(data.toString('latin1')));
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : '';
  let notified = 0;
  const end = listenForMutations(`postgres://nobody@127.0.0.1:${port}/none`, () => notified++);
  await until('it wants to listen', () => queries.some((query) => query.includes('listen ')));
  await end();
  expect(notified).toBe(0);
});
