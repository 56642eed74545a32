import { describe, expect, test } from 'vitest';
import { type EventMessage, encodeIngestMessage } from '#lib/ingest/ingest-message.ts';
import { encodeOutcome } from '#lib/ingest/outcome.ts';
import type { LogRecord } from '#lib/log/log.ts';
import { eventMessage } from './consumers-testing.ts';
import { INGEST_READER, OUTCOME_READER, UnreadableError } from './effects.ts';

function record(value: Uint8Array): LogRecord {
  return { offset: 7n, timestampMs: 1_700_000_000_500, key: new Uint8Array(16), value };
}

function read(message: Partial<EventMessage>) {
  return INGEST_READER.effectOf(record(encodeIngestMessage(eventMessage(message))));
}

describe('ingest topics', () => {
  test('an event has its columns, its body as it came, and its attachments', () => {
    const payload = Buffer.from(JSON.stringify({ message: 'Hello', timestamp: 1_700_000_000.25, level: 'warning' }));
    const attachment = { id: 'a', name: 'log.txt', attachmentType: 'event.attachment' };
    const effect = read({
      payload,
      attachments: [
        { ...attachment, contentType: undefined, sizeBytes: 3, content: { data: Buffer.from('abc') } },
        { ...attachment, id: 'b', contentType: 'text/plain', sizeBytes: 3_000_000, content: { chunks: 3 } },
      ],
    });
    if (effect.kind !== 'event') throw new Error('no event');
    expect(effect.offset).toBe(7n);
    expect(effect.event).toMatchObject({ title: 'Hello', level: 'warning', timeMs: 1_700_000_000_250 });
    expect(Buffer.from(effect.event.body)).toEqual(payload);
    expect(effect.event.attachments.map(({ contentType, data }) => [contentType, data?.byteLength])).toEqual([
      ['application/octet-stream', 3],
      ['text/plain', undefined],
    ]);
  });

  test.each([
    ['no MessagePack', Buffer.from([0xc1])],
    ['no map', Buffer.from([0x01])],
    ['an event without JSON', encodeIngestMessage(eventMessage({ payload: Buffer.from('{') }))],
    ['an event that is a list', encodeIngestMessage(eventMessage({ payload: Buffer.from('[]') }))],
    [
      'an event that is not UTF-8',
      encodeIngestMessage(eventMessage({ payload: Buffer.from('{"a":"\xff"}', 'latin1') })),
    ],
  ])('%s is unreadable', (_, value) => {
    expect(() => INGEST_READER.effectOf(record(value))).toThrow(UnreadableError);
  });

  test('what was put aside counts for whom it can be told of, when it was logged', () => {
    const content = { data: Buffer.from('abc') };
    const attachment = { id: 'a', name: 'n', contentType: undefined, attachmentType: 't', sizeBytes: 3, content };
    const message = eventMessage({ payload: Buffer.from('{'), category: 'security', attachments: [attachment] });
    const counted = (value: Uint8Array) =>
      INGEST_READER.putAside(record(value)).map((effect) =>
        effect.kind === 'outcome'
          ? [effect.offset, effect.outcome.projectId, effect.outcome.category, effect.outcome.quantity]
          : effect.kind,
      );
    expect(counted(encodeIngestMessage(message))).toEqual([
      [7n, message.projectId, 'security', 1],
      [7n, message.projectId, 'attachment', 3],
      [7n, message.projectId, 'attachment_item', 1],
    ]);
    expect(counted(Buffer.from('nothing at all'))).toEqual([[7n, undefined, 'default', 1]]);
    const { payload: _, ...owner } = message;
    const chunk = { ...owner, type: 'attachment_chunk', id: 'a', chunkIndex: 0, payload: Buffer.from('x') } as const;
    expect(counted(encodeIngestMessage(chunk))).toEqual(['none']);
  });
});

test('an outcome is counted as it says, and what is none waits as a dead letter', () => {
  const outcome = {
    timestampMs: 1_700_000_000_000,
    outcome: 'filtered',
    organizationId: 1n,
    projectId: 2n,
    keyId: 3n,
    reason: 'localhost',
    eventId: undefined,
    remoteAddr: undefined,
    category: 'error',
    quantity: 4,
  } as const;
  expect(OUTCOME_READER.effectOf(record(encodeOutcome(outcome)))).toEqual({ kind: 'outcome', offset: 7n, outcome });
  expect(() => OUTCOME_READER.effectOf(record(Buffer.from('{}')))).toThrow(UnreadableError);
  expect(OUTCOME_READER.putAside(record(Buffer.from('{}')))).toEqual([{ kind: 'none', offset: 7n }]);
});
