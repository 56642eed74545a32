import { once } from 'node:events';
import { connect } from 'node:http2';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { askForLanes } from './lanes-testing.ts';
import { wantsLanes } from './wants-lanes.ts';

/** What a client of Node's begins with. */
async function firstBytesOf(asking: boolean): Promise<Buffer> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  session.on('error', () => {});
  if (asking) askForLanes(session);
  const [socket] = (await once(server, 'connection')) as [Socket];
  const [seen] = (await once(socket, 'data')) as [Buffer];
  session.destroy();
  socket.destroy();
  server.close();
  return seen;
}

test('a connection that many bytes may be under way on asks for lanes', async () => {
  expect(wantsLanes(await firstBytesOf(true))).toBe(true);
  expect(wantsLanes(await firstBytesOf(false))).toBe(false);
});

test('so does none of which too little has come', async () => {
  const seen = await firstBytesOf(true);
  for (let length = 0; length < seen.length; length++) expect(wantsLanes(seen.subarray(0, length))).toBe(false);
});
