import type { Transform } from 'node:stream';
import {
  brotliDecompressSync,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createZstdDecompress,
  gunzipSync,
  inflateSync,
  zstdDecompressSync,
} from 'node:zlib';
import { EnvelopeRefusal } from './envelope-refusal.ts';

const ENCODINGS = {
  gzip: { sync: gunzipSync, stream: createGunzip },
  deflate: { sync: inflateSync, stream: createInflate },
  br: { sync: brotliDecompressSync, stream: createBrotliDecompress },
  zstd: { sync: zstdDecompressSync, stream: createZstdDecompress },
} as const;

export type Encoding = keyof typeof ENCODINGS;

/** Undefined: the body is as it is. Nothing and `utf-8` are sent by clients that mean that. @throws EnvelopeRefusal */
export function readEncoding(header: string | undefined): Encoding | undefined {
  if (header === undefined) return undefined;
  const name = header.trim().toLowerCase();
  if (name === '' || name === 'identity' || name === 'utf-8') return undefined;
  if (!Object.hasOwn(ENCODINGS, name)) throw new EnvelopeRefusal('unknown_encoding');
  return name as Encoding;
}

/** Up to here a body is decompressed at once: a thread of libuv's takes longer to be asked than this to be done. */
export const MAX_SYNC_INPUT_BYTES = 32 * 1024;
/** Half a millisecond's work. What grows larger is begun again, elsewhere. */
const MAX_SYNC_OUTPUT_BYTES = 256 * 1024;
const SYNC_CHUNK_BYTES = 8 * 1024;
const STREAM_CHUNK_BYTES = 64 * 1024;

/** The whole of a small body; undefined where it is not small. @throws EnvelopeRefusal */
export function decompressSmall(encoding: Encoding, body: Buffer): Buffer | undefined {
  if (body.byteLength > MAX_SYNC_INPUT_BYTES) return undefined;
  const { buffer, engine } = decompressNow(encoding, body) ?? {};
  if (buffer === undefined || engine === undefined) return undefined;
  requireAllRead(engine.bytesWritten, body.byteLength);
  return alone(buffer);
}

/**
 * Zlib leaves what follows the end unread and says nothing: of several zstd frames it would be the first alone that counts,
 * or all of them, by how they arrived. Gzip's members are one body, and read as such. @throws EnvelopeRefusal
 */
export function requireAllRead(readBytes: number, sentBytes: number): void {
  if (readBytes < sentBytes) throw new EnvelopeRefusal('invalid_compression');
}

/** As zlib's synchronous functions answer with `info`, which their types don't say. */
interface Decompressed {
  readonly buffer: Buffer;
  /** Of which `bytesWritten` is what was read of the input. */
  readonly engine: { readonly bytesWritten: number };
}

/** Undefined: it is too large. @throws EnvelopeRefusal */
function decompressNow(encoding: Encoding, body: Buffer): Decompressed | undefined {
  const options = { maxOutputLength: MAX_SYNC_OUTPUT_BYTES, chunkSize: SYNC_CHUNK_BYTES, info: true };
  try {
    return ENCODINGS[encoding].sync(body, options) as unknown as Decompressed;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') return undefined;
    throw new EnvelopeRefusal('invalid_compression', { cause: error });
  }
}

/** Turns what is written to it into the body, on threads of libuv's. */
export function decompressStream(encoding: Encoding): Transform & { readonly bytesWritten: number } {
  return ENCODINGS[encoding].stream({ chunkSize: STREAM_CHUNK_BYTES });
}

/** What waits in memory, or goes to another thread, must not take a pool of many times its size along. */
function alone(bytes: Buffer): Buffer {
  if (bytes.buffer.byteLength === bytes.byteLength) return bytes;
  const copy = Buffer.allocUnsafeSlow(bytes.byteLength);
  bytes.copy(copy);
  return copy;
}
