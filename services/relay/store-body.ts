import { inflateSync } from 'node:zlib';
import { EnvelopeRefusal } from './envelope-refusal.ts';

const OPEN = 0x7b;

/**
 * The JSON of what was sent to store: itself, or in base64, or compressed and then in base64. What it is tells its first
 * byte. @throws EnvelopeRefusal
 */
export function decodeStoreBody(body: Buffer, maxBytes: number): Buffer {
  const from = firstByte(body);
  if (from === body.byteLength) throw new EnvelopeRefusal('empty_body');
  if (body[from] === OPEN) return checked(body, maxBytes);
  const text = body.toString('latin1');
  // Of an event that fits, base64 is a third longer; the rest of the limit is for line ends.
  if (NOT_BASE64.test(text)) throw new EnvelopeRefusal('invalid_base64');
  const bytes = Buffer.from(text, 'base64');
  return bytes[firstByte(bytes)] === OPEN ? checked(bytes, maxBytes) : inflate(bytes, maxBytes);
}

/** How long a body may be whose JSON has `maxBytes`. */
export function maxStoreBodyBytes(maxBytes: number): number {
  return Math.ceil((maxBytes * 4) / 3) + 4096;
}

/** With the characters of URLs, too, and spaces for the `+` that a query made of them. */
const NOT_BASE64 = /[^A-Za-z0-9+/_\-= \r\n]/;

function inflate(bytes: Buffer, maxOutputLength: number): Buffer {
  try {
    return inflateSync(bytes, { maxOutputLength });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge();
    throw new EnvelopeRefusal('invalid_base64', { cause: error });
  }
}

function checked(body: Buffer, maxBytes: number): Buffer {
  if (body.byteLength > maxBytes) throw tooLarge();
  return body;
}

function tooLarge(): EnvelopeRefusal {
  return new EnvelopeRefusal('too_large', { item: 'event', category: 'error' });
}

function firstByte(body: Buffer): number {
  let at = 0;
  for (let byte = body[at]; byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09; ) byte = body[++at];
  return at;
}
