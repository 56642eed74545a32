import { connect } from 'node:net';
import { brotliCompressSync, createGzip, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import { listen } from '#lib/server/listen.ts';
import { ask } from '../../test/support/raw-request.ts';
import { readBody } from './body.ts';
import { BodyBudget } from './body-budget.ts';
import { readEncoding } from './decompress.ts';
import { EnvelopeRefusal } from './envelope-refusal.ts';

const MIB = 1024 * 1024;
const COMPRESS = { gzip: gzipSync, deflate: deflateSync, br: brotliCompressSync, zstd: zstdCompressSync } as const;
type Name = keyof typeof COMPRESS;
const NAMES = Object.keys(COMPRESS) as Name[];

/** Answers each request with what became of its body. */
async function serve({ maxBytes = 4 * MIB, budgetBytes = 64 * MIB } = {}) {
  const budget = new BodyBudget(budgetBytes);
  const bodies: Buffer[] = [];
  const outcomes: string[] = [];
  const listening = await listen({
    host: '127.0.0.1',
    port: 0,
    handler: (request, response) => {
      const done = (outcome: string) => {
        outcomes.push(outcome);
        response.end(outcome);
      };
      try {
        const encoding = readEncoding(request.headers['content-encoding']);
        readBody(request, { encoding, maxBytes, budget }).then(
          (body) => {
            bodies.push(body);
            done('read');
          },
          (error: unknown) => done(error instanceof EnvelopeRefusal ? error.reason : String(error)),
        );
      } catch (error) {
        done(error instanceof EnvelopeRefusal ? error.reason : String(error));
      }
    },
  });
  onTestFinished(async () => {
    listening.destroy();
    await listening.stopAccepting();
  });
  const url = `http://127.0.0.1:${listening.port}`;
  return {
    port: listening.port,
    budget,
    bodies,
    outcomes,
    post: async (encoding: string, body: Uint8Array | readonly Uint8Array[]) =>
      (await ask(url, { method: 'POST', headers: { 'content-encoding': encoding }, body })).text,
  };
}

const text = (bytes: number) => Buffer.from('{"message":"hello"}'.repeat(Math.ceil(bytes / 19)).slice(0, bytes));
/** What does not compress. */
const noise = (bytes: number) => {
  const buffer = Buffer.alloc(bytes);
  for (let at = 0, seed = 1; at < bytes; at++) {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    buffer[at] = seed >>> 24;
  }
  return buffer;
};

const pieces = (body: Buffer) => {
  const half = body.length >> 1;
  return [body.subarray(0, Math.min(7, half)), body.subarray(Math.min(7, half), half), body.subarray(half)];
};

describe.each(NAMES)('%s', (name) => {
  test.each([
    ['small', text(1300)],
    ['small, and large when it is decompressed', text(MIB)],
    ['large', noise(MIB)],
    ['nothing', Buffer.alloc(0)],
  ])('%s', async (_, body) => {
    const { post, bodies, budget } = await serve();
    const compressed = COMPRESS[name](body);
    expect(await post(name, compressed)).toBe('read');
    expect(await post(name, pieces(compressed))).toBe('read');
    for (const each of bodies) expect(each.equals(body)).toBe(true);
    expect([bodies.length, budget.usedBytes]).toEqual([2, 0]);
  });

  test('what is cut or garbled is refused', async () => {
    const { post, budget } = await serve();
    for (const whole of [COMPRESS[name](text(1300)), COMPRESS[name](noise(200_000))]) {
      expect(await post(name, whole.subarray(0, whole.length - 20))).toBe('invalid_compression');
    }
    expect(await post(name, Buffer.from('no such thing'))).toBe('invalid_compression');
    expect(await post(name, noise(200_000))).toBe('invalid_compression');
    expect(budget.usedBytes).toBe(0);
  });

  test('is held to the limit by what it is when decompressed, and by what is sent', async () => {
    const { post, bodies, budget } = await serve({ maxBytes: MIB });
    expect(await post(name, COMPRESS[name](text(MIB)))).toBe('read');
    expect(await post(name, COMPRESS[name](text(MIB + 1)))).toBe('too_large');
    expect(await post(name, COMPRESS[name](Buffer.alloc(16 * MIB)))).toBe('too_large');
    expect(await post(name, COMPRESS[name](noise(MIB + 100_000)))).toBe('too_large');
    expect(await post(name, pieces(COMPRESS[name](noise(MIB + 100_000))))).toBe('too_large');
    expect([bodies.length, budget.usedBytes]).toEqual([1, 0]);
  });
});

test('without an encoding, and with those that mean none', async () => {
  const { post, bodies } = await serve();
  for (const encoding of ['', 'identity', 'utf-8', 'UTF-8', ' Identity '])
    expect(await post(encoding, text(50))).toBe('read');
  expect(await post('', pieces(text(MIB)))).toBe('read');
  expect(bodies.map(({ length }) => length)).toEqual([50, 50, 50, 50, 50, MIB]);
  for (const encoding of ['x', 'gzip, gzip', 'compress', '__proto__'])
    expect(await post(encoding, text(50))).toBe('unknown_encoding');
  expect(await post('GZIP', gzipSync('a'))).toBe('read');
});

test('an empty body with an encoding is empty', async () => {
  const { post, bodies } = await serve();
  for (const name of NAMES) expect(await post(name, Buffer.alloc(0))).toBe('read');
  expect(bodies.every(({ length }) => length === 0)).toBe(true);
});

test('what is declared too large is not read', async () => {
  const { post } = await serve({ maxBytes: 1000 });
  expect(await post('', text(1001))).toBe('too_large');
  expect(await post('', pieces(text(1001)))).toBe('too_large');
  expect(await post('', text(1000))).toBe('read');
});

test('a small body waits without the pool it was decompressed into', async () => {
  const { post, bodies } = await serve();
  await post('gzip', gzipSync(text(1300)));
  expect(bodies[0]?.buffer.byteLength).toBe(1300);
});

test('all bodies together are held to what there is for them', async () => {
  const { post, budget } = await serve({ budgetBytes: 100_000 });
  expect(await post('', text(100_001))).toBe('busy');
  expect(await post('gzip', gzipSync(text(200_000)))).toBe('busy');
  expect(await post('', text(100_000))).toBe('read');
  expect(budget.usedBytes).toBe(0);
});

test('a request that is cut gives back what it held', async () => {
  const { port, budget, outcomes } = await serve();
  for (const encoding of ['identity', 'gzip']) {
    const socket = connect(port, '127.0.0.1');
    socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: ${encoding}\r\nContent-Length: 300000\r\n\r\n`);
    socket.write(encoding === 'gzip' ? gzipSync(noise(200_000)) : text(200_000));
    await expect.poll(() => budget.usedBytes, { timeout: 20_000 }).toBeGreaterThan(100_000);
    socket.destroy();
    await expect.poll(() => budget.usedBytes, { timeout: 20_000 }).toBe(0);
  }
  expect(outcomes).toEqual(['cut', 'cut']);
});

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
