import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkItems, DEFAULT_ENVELOPE_LIMITS, hasEvent } from './envelope-limits.ts';
import { parseEnvelope } from './envelope-parse.ts';
import { EnvelopeRefusal } from './envelope-refusal.ts';

const ID = '9ec79c33ec9942ab8353589fcb2e04dc';
const EVENT = '{"message":"hello"}';

function parse(text: string) {
  return parseEnvelope(Buffer.from(text));
}

function refusalOf(act: () => unknown) {
  try {
    act();
  } catch (error) {
    if (error instanceof EnvelopeRefusal) return { reason: error.reason, status: error.status, outcome: error.outcome };
    throw error;
  }
  return undefined;
}

const refused = (text: string) => refusalOf(() => parse(text))?.reason;

test('reads the header, and items with and without length', () => {
  const body = Buffer.from(
    `{"event_id":"${ID}","dsn":"http://k@host/1","sent_at":"2026-01-02T03:04:05.678901Z","sdk":{"name":"a"},"trace":{}}\n` +
      `{"type":"event","length":${EVENT.length}}\n${EVENT}\n` +
      '{"type":"attachment","length":3,"filename":"a.txt","content_type":"text/plain","attachment_type":"event.attachment","x":1}\na\nb\n' +
      '{"type":"client_report"}\n{"a":1}',
  );
  const { envelope, dsn, origin } = parseEnvelope(body);
  expect({ dsn, origin }).toEqual({ dsn: 'http://k@host/1', origin: undefined });
  expect(envelope.eventId).toBe(ID);
  expect(envelope.sentAtMs).toBe(Date.UTC(2026, 0, 2, 3, 4, 5, 678));
  expect(envelope.headers).toEqual({ sdk: { name: 'a' }, trace: {} });
  expect(envelope.items.map(({ type, payload }) => [type, Buffer.from(payload).toString()])).toEqual([
    ['event', EVENT],
    ['attachment', 'a\nb'],
    ['client_report', '{"a":1}'],
  ]);
  expect(envelope.items[1]).toMatchObject({
    filename: 'a.txt',
    contentType: 'text/plain',
    attachmentType: 'event.attachment',
    headers: { x: 1 },
  });
  expect(hasEvent(envelope.items)).toBe(true);
  for (const { payload } of envelope.items) expect(payload.buffer).toBe(body.buffer);
});

test.each([
  ['nothing but a header', '{}', 0],
  ['a final newline', '{}\n', 0],
  ['more newlines', '{}\n\n\n', 0],
  ['an empty item at the end', '{}\n{"type":"event"}', 1],
  ['an empty item in between', '{}\n{"type":"a"}\n\n{"type":"b","length":0}\n\n{"type":"c"}\nx\n', 3],
  ['carriage returns after headers', '{}\r\n{"type":"a"}\r\nx', 1],
  ['no length', '{}\n{"type":"a","length":null}\nxy\n', 1],
])('takes %s', (_, text, items) => {
  expect(parse(text).envelope.items).toHaveLength(items);
});

test.each([
  ['empty_body', ''],
  ['invalid_envelope', '\n'],
  ['invalid_envelope', 'no json'],
  ['invalid_envelope', '[]'],
  ['invalid_envelope', 'null\n'],
  ['invalid_envelope', '{}\n{}'],
  ['invalid_envelope', '{}\n{"type":7}\n'],
  ['invalid_envelope', '{}\n{"type":""}\n'],
  ['invalid_envelope', '{}\n[]\n'],
  ['invalid_envelope', '{}\nx'],
  ['invalid_envelope', '{}\n{"type":"a","length":5}\nabc'],
  ['invalid_envelope', '{}\n{"type":"a","length":1}\nabc'],
  ['invalid_envelope', '{}\n{"type":"a","length":-1}\nabc'],
  ['invalid_envelope', '{}\n{"type":"a","length":1.5}\nabc'],
  ['invalid_envelope', '{}\n{"type":"a","length":"1"}\na'],
  ['invalid_envelope', '{}\n{"type":"a","length":1e300}\na'],
  ['invalid_event_id', '{"event_id":"x"}'],
  ['invalid_event_id', '{"event_id":7}'],
])('%s: %s', (reason, text) => {
  expect(refused(text)).toBe(reason);
});

test('bounds items, headers and what is in them', () => {
  expect(refused(`{}\n${'{"type":"a"}\n\n'.repeat(500)}`)).toBeUndefined();
  expect(refused(`{}\n${'{"type":"a"}\n\n'.repeat(501)}`)).toBe('too_many_items');
  for (const header of [`{"a":"${'x'.repeat(70_000)}"}`, `{"type":${'['.repeat(1000)}${']'.repeat(1000)}}`]) {
    expect(refused(header)).toBe('invalid_envelope');
    expect(refused(`{}\n${header}`)).toBe('invalid_envelope');
  }
});

describe('the event id', () => {
  const item = (payload: string, type = 'event') => `{"type":"${type}"}\n${payload}\n`;
  test.each([
    ['of the header, whatever the event says', `{"event_id":"${ID}"}\n${item(`{"event_id":"${'b'.repeat(32)}"}`)}`],
    ['with hyphens and capitals', '{"event_id":"9EC79C33-EC99-42AB-8353-589FCB2E04DC"}'],
    ['else of the event', `{}\n${item('x', 'attachment')}${item(`{"event_id":"${ID}"}`)}`],
    ['of attachments alone', `{"event_id":"${ID}"}\n${item('x', 'attachment')}`],
  ])('is %s', (_, text) => expect(parse(text).envelope.eventId).toBe(ID));

  test('is made for an event without one', () => {
    for (const payload of ['{}', 'no json', '{"event_id":"x"}']) {
      expect(parse(`{}\n${item(payload)}`).envelope.eventId).toMatch(/^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$/);
    }
  });
  test('is made for a minidump, which is an event by itself', () => {
    const { eventId, items } = parse('{}\n{"type":"attachment","attachment_type":"event.minidump"}\nMDMP').envelope;
    expect([eventId, hasEvent(items)]).toEqual([expect.stringMatching(/^[0-9a-f]{32}$/), true]);
  });
  test('is not made without an event', () => {
    const { eventId, items } = parse(`{}\n${item('x', 'attachment')}${item('{}', 'session')}`).envelope;
    expect([eventId, hasEvent(items)]).toEqual([undefined, false]);
  });
});

describe('limits', () => {
  const items = (...list: [type: string, bytes: number][]) =>
    list.map(([type, bytes]) => ({
      type,
      contentType: undefined,
      filename: undefined,
      attachmentType: undefined,
      headers: {},
      payload: Buffer.alloc(bytes),
    }));
  const limits = { ...DEFAULT_ENVELOPE_LIMITS, maxAttachmentBytes: 1000, maxEventBytes: 100, maxClientReportBytes: 10 };
  const many = (type: string, count: number) => Array.from({ length: count }, (): [string, number] => [type, 1]);

  test.each([
    ['too_large:event', 413, items(['event', 101])],
    ['too_large:transaction', 413, items(['transaction', 101])],
    ['too_large:raw_security', 413, items(['raw_security', 101])],
    ['too_large:user_report', 413, items(['user_report', 101])],
    ['too_large:session', 413, items(['session', 101])],
    ['too_large:attachment', 413, items(['attachment', 1001])],
    ['too_large:attachment', 413, items(['attachment', 600], ['attachment', 401])],
    ['too_large:attachment', 413, items(...many('attachment', 31))],
    ['too_large:client_report', 413, items(['client_report', 11])],
    ['too_large:client_report', 413, items(...many('client_report', 101))],
    ['too_large:sessions', 413, items(...many('session', 60), ...many('sessions', 41))],
    ['duplicate_item', 413, items(['event', 1], ['event', 1])],
    ['duplicate_item', 413, items(['event', 1], ['transaction', 1])],
    ['invalid_envelope', 400, items(...many('unknown', 501))],
  ])('%s is %i', (outcome, status, list) => {
    expect(refusalOf(() => checkItems(list, limits))).toMatchObject({ outcome, status });
  });

  test('take what is as large as they say', () => {
    checkItems(items(['event', 100], ['attachment', 1000], ['client_report', 10], ['unknown', 5000]), limits);
    checkItems(items(...many('attachment', 30), ...many('client_report', 100), ...many('session', 100)), limits);
    checkItems(items(...many('unknown', 500)), limits);
  });
});

test('mutated envelopes are envelopes, or are refused', () => {
  const good = Buffer.from(
    `{"event_id":"${ID}","dsn":"http://k@host/1","sent_at":"2026-01-02T03:04:05Z"}\n` +
      `{"type":"event","length":${EVENT.length}}\n${EVENT}\n{"type":"attachment","length":3}\na\nb\n{"type":"session"}\n{}`,
  );
  const mutation = fc.record({
    at: fc.nat(good.length - 1),
    byte: fc.integer({ min: -1, max: 255 }),
    cut: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(mutation, { maxLength: 6 }), (mutations) => {
      let body = Buffer.from(good);
      for (const { at, byte, cut } of mutations) {
        if (at >= body.length) continue;
        if (cut && byte % 7 === 0) body = body.subarray(0, at);
        else if (byte < 0) body = Buffer.concat([body.subarray(0, at), body.subarray(at + 1)]);
        else body[at] = byte;
      }
      refusalOf(() => checkItems(parseEnvelope(body).envelope.items, DEFAULT_ENVELOPE_LIMITS));
    }),
    { numRuns: 3000 },
  );
});

test('an event that is too large to be taken is not looked through for its id', () => {
  const eventOf = (bytes: number) => `{"event_id":"${'a'.repeat(32)}","message":"${'x'.repeat(bytes)}"}`;
  const idOf = (event: string, maxBytes: number) =>
    parseEnvelope(Buffer.from(`{}\n{"type":"event"}\n${event}`), maxBytes).envelope.eventId;
  const event = eventOf(1000);
  expect(idOf(event, event.length)).toBe('a'.repeat(32));
  expect(idOf(event, event.length - 1)).not.toBe('a'.repeat(32));
});
