import type { JsonObject } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { Phase, type PublishRequest } from '#gen/tideway/stream/v1/message_pb.ts';
import {
  type LineOptions,
  MAX_MESSAGE_BYTES,
  MAX_TEXT_BYTES,
  messageOf,
  messagesOfLines,
  parsePayload,
} from './messages.ts';

const channelId = '0b2d3f60-7c1a-4b52-9a55-0f6f3c1d2e4b';
const lines = { orgId: 1n, channelId, firstSequence: 0n, json: false, start: true, end: true };

async function collect(text: string, options: Partial<LineOptions> = {}): Promise<PublishRequest[]> {
  async function* chunks() {
    yield Buffer.from(text);
  }
  const messages = [];
  for await (const message of messagesOfLines(chunks(), { ...lines, ...options })) messages.push(message);
  return messages;
}

const textOf = (message: PublishRequest): unknown => message.payload?.['text'];

describe('messagesOfLines', () => {
  it('begins, sends each line with its end, and ends', async () => {
    const messages = await collect('one\ntwo');
    expect(messages.map((message) => [message.phase, message.sequence, textOf(message)])).toEqual([
      [Phase.START, 0n, undefined],
      [Phase.DELTA, 1n, 'one\n'],
      [Phase.DELTA, 2n, 'two'],
      [Phase.END, 3n, undefined],
    ]);
    expect(new Set(messages.map((message) => message.messageId)).size).toBe(4);
  });

  it('says at the START that text may be joined, and nowhere else', async () => {
    const messages = await collect('one\ntwo', { coalesceWindowMs: 50 });
    expect(messages.map(({ coalesceWindowMs }) => coalesceWindowMs)).toEqual([50, undefined, undefined, undefined]);
  });

  it('goes on with a stream that has begun, and leaves it open', async () => {
    const messages = await collect('one\n', { start: false, end: false, firstSequence: 7n });
    expect(messages.map((message) => [message.phase, message.sequence])).toEqual([[Phase.DELTA, 7n]]);
  });

  it('divides a line that is too long, and loses nothing of it', async () => {
    const long = `${'é'.repeat(MAX_TEXT_BYTES)}\n`;
    const messages = await collect(long, { start: false, end: false });
    expect(messages.length).toBe(3);
    expect(messages.map(textOf).join('')).toBe(long);
  });

  it('takes each line as a payload, and skips empty ones', async () => {
    const messages = await collect('{"a":1}\n\n{"b":[2]}\n', { json: true, start: false, end: false });
    expect(messages.map((message) => message.payload)).toEqual([{ a: 1 }, { b: [2] }]);
  });

  it.each([
    ['a line that is no JSON', '{"a":1}\nnope\n', /Line 2 is not JSON/],
    ['a line that is no object', '[1]\n', /Line 1 must be a JSON object/],
    ['a JSON line that is too long', `{"a":"${'x'.repeat(MAX_TEXT_BYTES)}"}\n`, /Line 1 is longer/],
  ])('refuses %s', async (_what, text, why) => {
    await expect(collect(text, { json: true })).rejects.toThrow(why);
  });
});

describe('messageOf', () => {
  const fields = { orgId: (1n << 64n) - 1n, channelId, phase: Phase.DELTA, sequence: (1n << 64n) - 1n };

  it('fits the longest text into a message', () => {
    expect(messageOf({ ...fields, payload: { text: 'x'.repeat(MAX_TEXT_BYTES) } }).sequence).toBe(fields.sequence);
  });

  it('refuses what a server would not take', () => {
    const payload: JsonObject = { text: 'x'.repeat(MAX_MESSAGE_BYTES) };
    expect(() => messageOf({ ...fields, payload })).toThrow(/at most 16384/);
  });
});

describe('parsePayload', () => {
  it('wants an object', () => {
    expect(parsePayload('{"a":null}', 'It')).toEqual({ a: null });
    for (const text of ['null', '"a"', '1', '[]']) expect(() => parsePayload(text, 'It')).toThrow(/JSON object/);
  });
});
