import { encode } from '@msgpack/msgpack';
import { describe, expect, test } from 'vitest';
import {
  decodeIngestMessage,
  encodeIngestMessage,
  type IngestMessage,
  ingestKey,
  MalformedMessageError,
} from './ingest-message.ts';
import { decodeOutcome, encodeOutcome, MalformedOutcomeError, type Outcome, withoutStamp } from './outcome.ts';

const owner = {
  eventId: '0123456789abcdef0123456789abcdef',
  projectId: 42n,
  organizationId: 7n,
  keyId: 9n,
  retentionDays: 90,
};
const payload = new TextEncoder().encode('{"message":"ä"}');
const small = { id: 'a', name: 'n', contentType: undefined, attachmentType: 't', sizeBytes: 1 };
const large = { ...small, id: 'b', contentType: 'text/plain', content: { chunks: 3 } };
const messages: IngestMessage[] = [
  {
    type: 'event',
    ...owner,
    payload,
    startTimeMs: 1_700_000_000_123,
    remoteAddr: '203.0.113.7',
    category: 'error',
    attachments: [{ ...small, content: { data: new Uint8Array([1]) } }, large],
  },
  { type: 'attachment_chunk', ...owner, payload, id: 'b', chunkIndex: 2 },
  { type: 'attachment', ...owner, startTimeMs: 1_700_000_000_123, attachment: large },
  { type: 'user_report', ...owner, payload, startTimeMs: 1_700_000_000_123 },
];

describe('ingest messages', () => {
  test.each(messages)('$type is read as it was written', (message) => {
    expect(decodeIngestMessage(encodeIngestMessage(message))).toEqual(message);
  });

  test.each([
    ['no MessagePack', new Uint8Array([0xc1])],
    ['a number', encode(7)],
    ['no event id', encode({ type: 'event', event_id: 'short' })],
    ['a type that nobody knows', encodeIngestMessage(messages[1]!).map((byte, at) => (at === 8 ? byte + 1 : byte))],
  ])('%s is malformed', (_, bytes) => {
    expect(() => decodeIngestMessage(bytes)).toThrow(MalformedMessageError);
  });

  test('the key is the event id, its first half with the organization', () => {
    expect(Buffer.from(ingestKey(owner.eventId, 7n)).toString('hex')).toBe('0123456789abcde80123456789abcdef');
  });
});

describe('outcomes', () => {
  const outcome: Outcome = {
    timestampMs: 1_700_000_000_123,
    outcome: 'rate_limited',
    organizationId: 7n,
    projectId: 42n,
    keyId: undefined,
    reason: 'quota',
    eventId: owner.eventId,
    remoteAddr: undefined,
    category: 'attachment',
    quantity: 1_000_000,
  };

  test('an outcome is read as it was written, in the form that Sentry has', () => {
    expect(decodeOutcome(encodeOutcome(outcome))).toEqual(outcome);
    expect(JSON.parse(Buffer.from(encodeOutcome(outcome)).toString())).toMatchObject({
      timestamp: '2023-11-14T22:13:20.123000Z',
      outcome: 2,
      category: 4,
      key_id: null,
    });
  });

  test('a stamp goes with it until it is taken off, and what is none is passed over', () => {
    const stamped = { ...outcome, stamp: { writer: 'a-0', sequence: 7 } };
    expect(decodeOutcome(encodeOutcome(stamped))).toEqual(stamped);
    expect(decodeOutcome(withoutStamp(encodeOutcome(stamped)))).toEqual(outcome);
    expect(withoutStamp(Buffer.from('{'))).toEqual(Buffer.from('{'));
    for (const odd of [{ writer: 5, writer_sequence: 1 }, { writer: 'a' }, { writer: 'a', writer_sequence: 1.5 }]) {
      const json = { ...JSON.parse(Buffer.from(encodeOutcome(outcome)).toString()), ...odd };
      expect(decodeOutcome(Buffer.from(JSON.stringify(json)))).toEqual(outcome);
    }
  });

  test.each(['', '1', 'null', '{}', '{"timestamp":"2023-11-14T22:13:20Z","outcome":9}'])('%j is malformed', (text) => {
    expect(() => decodeOutcome(Buffer.from(text))).toThrow(MalformedOutcomeError);
  });
});
