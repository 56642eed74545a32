import { promisify } from 'node:util';
import { constants, zstdCompressSync, zstdDecompress } from 'node:zlib';

export interface EncodedBody {
  readonly encoding: bigint;
  readonly bytes: Uint8Array;
}

const PLAIN = 0n;
const ZSTD = 1n;
const MIN_WINDOW_LOG = 10;
const MAX_WINDOW_LOG = 20;
const USUAL_RATIO = 8;
const MIN_OUTPUT_BYTES = 16 * 1024;
const MAX_OUTPUT_BYTES = 1024 * 1024;

const decompress = promisify(zstdDecompress);

/**
 * Level 1, and tables no larger than the body: making larger ones takes longer than compressing a small event. Higher
 * levels save a few percent more.
 */
export function encodeBody(body: Uint8Array): EncodedBody {
  const windowLog = Math.min(Math.max(32 - Math.clz32(body.byteLength), MIN_WINDOW_LOG), MAX_WINDOW_LOG);
  const bytes = zstdCompressSync(body, {
    pledgedSrcSize: body.byteLength,
    chunkSize: Math.max(body.byteLength, constants.Z_MIN_CHUNK),
    params: { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_windowLog]: windowLog },
  });
  return bytes.byteLength < body.byteLength ? { encoding: ZSTD, bytes } : { encoding: PLAIN, bytes: body };
}

export async function decodeBody({ encoding, bytes }: EncodedBody): Promise<Uint8Array> {
  if (encoding !== ZSTD) return bytes;
  // Each piece of the output is a way to another thread and back: most bodies are one.
  const chunkSize = Math.min(Math.max(bytes.byteLength * USUAL_RATIO, MIN_OUTPUT_BYTES), MAX_OUTPUT_BYTES);
  return decompress(bytes, { chunkSize });
}
