import { getEventListeners, once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { expect, onTestFinished, test, vi } from 'vitest';
import { until } from '../../test/support/until.ts';
import { listenForMutations } from './postgres-listener.ts';

test('of connections that broke, nothing is kept', async () => {
  const begun = vi.spyOn(EventTarget.prototype, 'addEventListener');
  onTestFinished(() => begun.mockRestore());
  let calls = 0;
  // No PostgreSQL: it hangs up.
  const server = createServer((socket) => {
    calls += 1;
    socket.destroy();
  });
  onTestFinished(() => void server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const stop = listenForMutations(`postgres://nobody@127.0.0.1:${port}/none`, () => undefined);
  await until('it has tried again and again', () => calls >= 5);
  const signals = new Set(begun.mock.contexts.filter((target) => target instanceof AbortSignal));
  const kept = [...signals].flatMap((signal) => getEventListeners(signal, 'abort'));
  await stop();
  // One that waits for the connection that there is, or for the next.
  expect(kept.length).toBeLessThanOrEqual(2);
});
