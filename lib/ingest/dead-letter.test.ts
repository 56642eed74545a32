import { encode } from '@msgpack/msgpack';
import { expect, test } from 'vitest';
import { decodeDeadLetter, encodeDeadLetter, MalformedDeadLetterError } from './dead-letter.ts';

const MAX_BYTES = 10_000;

function letter(valueBytes: number, reason = 'not MessagePack') {
  return {
    topic: 'ingest-events',
    topicId: '6f1c',
    partition: 3,
    offset: 2n ** 62n,
    reason,
    timestampMs: 1_700_000_000_000,
    key: new Uint8Array(16).fill(1),
    value: new Uint8Array(valueBytes).fill(2),
  };
}

test('a record is whole in its dead letter', () => {
  const sent = letter(5_000);
  const { key, value, valueBytes, ...rest } = decodeDeadLetter(encodeDeadLetter(sent, MAX_BYTES));
  expect({ ...rest, key: [...key], value: [...value] }).toEqual({
    ...sent,
    key: [...sent.key],
    value: [...sent.value],
  });
  expect(valueBytes).toBe(5_000);
});

test('the largest record leaves a dead letter too, which says that it is not whole', () => {
  const sent = letter(MAX_BYTES - 16, 'ä'.repeat(1_000));
  const bytes = encodeDeadLetter(sent, MAX_BYTES);
  expect(bytes.byteLength + sent.key.byteLength).toBeLessThanOrEqual(MAX_BYTES);
  const { value, valueBytes } = decodeDeadLetter(bytes);
  expect(valueBytes).toBe(MAX_BYTES - 16);
  expect(value.byteLength).toBeLessThan(valueBytes);
});

test.each([
  ['nothing', new Uint8Array()],
  ['a number', encode(1)],
  ['a map of something else', encode({ topic: 'a' })],
  ['an offset that is none', encode({ topic: 'a', topic_id: 'b', partition: 0, offset: '-1' })],
])('%s is no dead letter', (_, bytes) => {
  expect(() => decodeDeadLetter(bytes)).toThrow(MalformedDeadLetterError);
});
