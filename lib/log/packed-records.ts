import type { NewRecord } from './log.ts';

/** Records in one buffer, which goes to another thread without being copied: cloned one by one they cost the sender more. */
export interface PackedRecords {
  readonly topics: readonly string[];
  readonly count: number;
  /** For each record the index of its topic, the bytes of its key and of its value, as 32-bit numbers; then all of these. */
  readonly buffer: ArrayBuffer;
}

const NUMBERS = 3;

export function pack(records: readonly NewRecord[]): PackedRecords {
  const headBytes = records.length * NUMBERS * Uint32Array.BYTES_PER_ELEMENT;
  let size = headBytes;
  for (const { key, value } of records) size += key.byteLength + value.byteLength;
  const bytes = Buffer.allocUnsafeSlow(size);
  const head = new Uint32Array(bytes.buffer, 0, records.length * NUMBERS);
  const topics = new Map<string, number>();
  let at = headBytes;
  let number = 0;
  for (const { topic, key, value } of records) {
    let index = topics.get(topic);
    if (index === undefined) {
      index = topics.size;
      topics.set(topic, index);
    }
    head[number++] = index;
    head[number++] = key.byteLength;
    head[number++] = value.byteLength;
    bytes.set(key, at);
    at += key.byteLength;
    bytes.set(value, at);
    at += value.byteLength;
  }
  return { topics: [...topics.keys()], count: records.length, buffer: bytes.buffer };
}

/** The records, as views of the buffer. */
export function* unpack({ topics, count, buffer }: PackedRecords): Generator<NewRecord> {
  const head = new Uint32Array(buffer, 0, count * NUMBERS);
  let at = head.byteLength;
  for (let number = 0; number < head.length; number += NUMBERS) {
    const [index = 0, keyBytes = 0, valueBytes = 0] = head.subarray(number, number + NUMBERS);
    const key = new Uint8Array(buffer, at, keyBytes);
    const value = new Uint8Array(buffer, at + keyBytes, valueBytes);
    at += keyBytes + valueBytes;
    yield { topic: topics[index] ?? '', key, value };
  }
}
