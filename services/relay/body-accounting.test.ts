import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { brotliCompressSync, constants, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { listen } from '#lib/server/listen.ts';
import { until } from '../../test/support/until.ts';
import { readBody } from './body.ts';
import { EnvelopeRefusal } from './envelope-refusal.ts';
import { FairShares } from './fair-shares.ts';

const COMPRESS = {
  identity: (body: Buffer) => body,
  gzip: gzipSync,
  deflate: deflateSync,
  br: (body: Buffer) => brotliCompressSync(body, { params: { [constants.BROTLI_PARAM_QUALITY]: 2 } }),
  zstd: zstdCompressSync,
} as const;
const MAX_BYTES = 300_000;

const request = fc.record({
  encoding: fc.constantFrom(...(Object.keys(COMPRESS) as (keyof typeof COMPRESS)[])),
  /** Of which only some compresses, and some is too large. */
  bytes: fc.constantFrom(0, 1, 900, 40_000, MAX_BYTES - 1, MAX_BYTES, MAX_BYTES + 1, 2_000_000),
  isNoise: fc.boolean(),
  isChunked: fc.boolean(),
  /** How much of it is sent before the other end is gone, of 1; 1: all. */
  sent: fc.constantFrom(0, 0.3, 0.99, 1, 1, 1),
  isGarbled: fc.constantFrom(false, false, false, true),
  pieces: fc.integer({ min: 1, max: 20 }),
});

type Request = typeof request extends fc.Arbitrary<infer T> ? T : never;

test('whatever is sent, cut or refused: each body ends, and what it held is given back', async () => {
  const budget = new FairShares<string>(3 * MAX_BYTES);
  let [begun, ended] = [0, 0];
  const others: unknown[] = [];
  const wrong: string[] = [];
  const listening = await listen({
    host: '127.0.0.1',
    port: 0,
    handler: (incoming, response) => {
      begun += 1;
      const [, encoding, bytes] = (incoming.url ?? '').split('/');
      const known = encoding === 'identity' ? undefined : (encoding as 'gzip');
      readBody(incoming, { encoding: known, maxBytes: MAX_BYTES, budget, caller: `${begun % 3}` })
        .then(
          (body) => {
            // What is garbled may still be something.
            if (bytes !== '' && body.byteLength !== Number(bytes)) wrong.push(`${body.byteLength} of ${incoming.url}`);
          },
          (error) => {
            if (!(error instanceof EnvelopeRefusal)) others.push(error);
          },
        )
        .finally(() => {
          ended += 1;
          response.end('done');
        });
    },
    onError: (error) => others.push(error),
  });
  onTestFinished(async () => {
    listening.destroy();
    await listening.stopAccepting();
  });

  async function send({ encoding, bytes, isNoise, isChunked, sent, isGarbled, pieces }: Request): Promise<void> {
    const plain = isNoise ? randomBytes(bytes) : Buffer.alloc(bytes, 'hello');
    const body = Buffer.from(COMPRESS[encoding](plain));
    const isOther = isGarbled && encoding !== 'identity' && body.byteLength > 0;
    if (isOther) body.fill(0x77, body.byteLength >> 1);
    const length = isChunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.byteLength}`;
    const socket = connect(listening.port, '127.0.0.1');
    const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
    socket.on('error', () => {});
    // The first answer is all that is of interest.
    socket.on('data', () => socket.destroy());
    socket.write(`POST /${encoding}/${isOther ? '' : bytes} HTTP/1.1\r\nHost: a\r\n${length}\r\n\r\n`);
    const end = Math.floor(body.byteLength * sent);
    const size = Math.max(1, Math.ceil(end / pieces));
    for (let from = 0; from < end && !socket.destroyed; from += size) {
      const piece = body.subarray(from, Math.min(end, from + size));
      if (isChunked) socket.write(`${piece.byteLength.toString(16)}\r\n`);
      socket.write(piece);
      if (isChunked) socket.write('\r\n');
      if (from % 3 === 0) await delay(0);
    }
    if (sent < 1) {
      await delay(1);
      socket.destroy();
    } else if (isChunked) socket.write('0\r\n\r\n');
    await closed;
  }

  await fc.assert(
    fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 12 }), async (requests) => {
      await Promise.all(requests.map(send));
      await until('all have ended', () => begun === ended);
      expect([budget.usedBytes, budget.owners, others, wrong]).toEqual([0, 0, [], []]);
    }),
    { numRuns: 15 },
  );
}, 120_000);
