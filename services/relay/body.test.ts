import { connect } from 'node:net';
import { brotliCompressSync, constants, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { MIB, serve } from './body-testing.ts';

const COMPRESS = {
  gzip: gzipSync,
  deflate: deflateSync,
  // By default it takes half a second for a MiB, and is read in the same way.
  br: (body: Buffer) => brotliCompressSync(body, { params: { [constants.BROTLI_PARAM_QUALITY]: 5 } }),
  zstd: zstdCompressSync,
} as const;
type Name = keyof typeof COMPRESS;
const NAMES = Object.keys(COMPRESS) as Name[];

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

  test.each([
    ['small', text(1300)],
    ['small, and large when it is decompressed', text(MIB)],
    ['large', noise(MIB)],
  ])('what follows its end is refused, however it arrives: %s', async (_, body) => {
    const { post, bodies, budget } = await serve();
    const compressed = COMPRESS[name](body);
    for (const rest of [Buffer.from('{}'), Buffer.alloc(1), noise(100_000)]) {
      expect(await post(name, Buffer.concat([compressed, rest]))).toBe('invalid_compression');
      expect(await post(name, [compressed, rest])).toBe('invalid_compression');
      expect(await post(name, pieces(Buffer.concat([compressed, rest])))).toBe('invalid_compression');
    }
    expect([bodies.length, budget.usedBytes]).toEqual([0, 0]);
  });

  test('several in one are never only the first of them', async () => {
    const { post, bodies } = await serve();
    for (const body of [text(1300), noise(100_000)]) {
      const compressed = COMPRESS[name](body);
      for (const sent of [Buffer.concat([compressed, compressed]), [compressed, compressed]]) {
        const before = bodies.length;
        const result = await post(name, sent);
        expect(result).toBe(name === 'gzip' || bodies.length > before ? 'read' : 'invalid_compression');
        if (bodies.length > before) expect(bodies.at(-1)?.equals(Buffer.concat([body, body]))).toBe(true);
      }
    }
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
  const { post, budget } = await serve({ budgetBytes: 200_000 });
  expect(await post('', text(170_001))).toBe('busy');
  expect(await post('gzip', gzipSync(text(210_000)))).toBe('busy');
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
