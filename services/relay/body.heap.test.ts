import { connect } from 'node:net';
import { createGzip } from 'node:zlib';
import { expect, onTestFinished, test } from 'vitest';
import { MIB, serve } from './body-testing.ts';

test('a bomb costs its limit, in memory and in time', async () => {
  const { post } = await serve({ maxBytes: 8 * MIB });
  // 512 MiB of zeros, as half a MiB.
  const gzip = createGzip();
  const chunks: Buffer[] = [];
  gzip.on('data', (chunk: Buffer) => chunks.push(chunk));
  const block = Buffer.alloc(16 * MIB);
  const ended = new Promise((resolve) => gzip.on('end', resolve));
  for (let i = 0; i < 32; i++) if (!gzip.write(block)) await new Promise((resolve) => gzip.once('drain', resolve));
  gzip.end();
  await ended;
  const bomb = Buffer.concat(chunks);
  const before = process.memoryUsage.rss();
  const cpu = process.cpuUsage();
  for (let i = 0; i < 10; i++) expect(await post('gzip', bomb)).toBe('too_large');
  const { user, system } = process.cpuUsage(cpu);
  expect((user + system) / 10 / 1000).toBeLessThan(300);
  expect((process.memoryUsage.rss() - before) / MIB).toBeLessThan(150);
});

test('a body of one byte at a time takes about as much as any other', async () => {
  const { port, bodies } = await serve();
  const socket = connect(port, '127.0.0.1');
  onTestFinished(() => void socket.destroy());
  socket.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n');
  const before = process.memoryUsage.rss();
  const some = '1\r\nx\r\n'.repeat(1000);
  for (let n = 0; n < 400; n += 1)
    if (!socket.write(some)) await new Promise((resolve) => socket.once('drain', resolve));
  socket.write('0\r\n\r\n');
  await expect.poll(() => bodies.length, { timeout: 20_000 }).toBe(1);
  expect(bodies[0]?.equals(Buffer.alloc(400_000, 'x'))).toBe(true);
  // 400 KB, which were 150 MB.
  expect((process.memoryUsage.rss() - before) / MIB).toBeLessThan(75);
});
