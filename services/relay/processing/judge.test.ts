import { describe, expect, test } from 'vitest';
import type { Item } from '../envelope.ts';
import type { Processed } from '../processing.ts';
import { EVENT_ID, type Given, itemOf, processItems, RECEIVED_MS } from './testing.ts';

const OTHER_ID = 'b'.repeat(32);
const EVENT = { message: 'a', timestamp: RECEIVED_MS / 1000 };
const attachment = (text: string, header: Partial<Item> = {}) =>
  itemOf('attachment', text, { filename: 'a.txt', ...header });
const bodyOf = ({ events: [event] }: Processed) => JSON.parse(Buffer.from(event!.payload).toString());

describe('an event', () => {
  test.each([
    ['event', { message: 'a' }, 'error', 'default'],
    ['event', { exception: { type: 'A' } }, 'error', 'error'],
    ['event', { type: 'transaction' }, 'transaction', 'transaction'],
    ['event', { csp: {} }, 'security', 'csp'],
    ['transaction', { transaction: '/' }, 'transaction', 'transaction'],
    ['feedback', { contexts: { feedback: { message: 'good' } } }, 'feedback', 'feedback'],
    ['user_report_v2', {}, 'feedback', 'feedback'],
  ])('of an item %j with %j is of category %j', (type, payload, category, eventType) => {
    const processed = processItems([itemOf(type, payload)]);
    expect(processed).toMatchObject({ events: [{ eventId: EVENT_ID, category }], attachments: [], refused: [] });
    expect(bodyOf(processed)).toMatchObject({ type: eventType, event_id: EVENT_ID });
  });

  test('has the envelope’s id, else its own, else a new one', () => {
    const own = (event_id: unknown, eventId?: string) =>
      bodyOf(processItems([itemOf('event', { event_id })], { envelope: { eventId } })).event_id;
    expect(own(OTHER_ID, EVENT_ID)).toBe(EVENT_ID);
    expect(own('4C79F60C-1121-4EB3-8604-F4AE0781BFB2')).toBe(EVENT_ID);
    expect(own('none')).toMatch(/^[0-9a-f]{32}$/);
  });

  test.each<[reason: string, payload: string | object]>([
    ['invalid_json', '{"a":'],
    ['invalid_json', '[]'],
    ['invalid_json', 'null'],
    ['invalid_json', '{"a":NaN}'],
    ['invalid_json', `${'{"a":'.repeat(200)}1${'}'.repeat(200)}`],
    ['no_event_payload', ''],
  ])('is refused as %s, with what belongs to it: %j', (reason, payload) => {
    const report = itemOf('user_report', { event_id: EVENT_ID, comments: 'x' });
    const { events, attachments, userReports, refused } = processItems([
      itemOf('event', payload),
      attachment('12345'),
      attachment('6789'),
      report,
    ]);
    expect([events, attachments, userReports]).toEqual([[], [], []]);
    const each = { outcome: 'invalid', reason, eventId: EVENT_ID };
    expect(refused).toEqual([
      { ...each, category: 'error', quantity: 1 },
      { ...each, category: 'feedback', quantity: 1 },
      { ...each, category: 'attachment', quantity: 9 },
      { ...each, category: 'attachment_item', quantity: 2 },
    ]);
  });

  test('that is filtered takes with it what belongs to it', () => {
    const { events, attachments, refused } = processItems([attachment('123'), itemOf('event', EVENT)], {
      filters: { errorMessages: ['a'] },
    });
    expect([events, attachments]).toEqual([[], []]);
    expect(refused).toEqual(
      ['error', 'attachment', 'attachment_item'].map((category) => ({
        outcome: 'filtered',
        reason: 'error-message',
        category,
        quantity: category === 'attachment' ? 3 : 1,
        eventId: EVENT_ID,
      })),
    );
  });

  test.each(['raven-python/6.10', 'sentry-python/0.1', 'sentry.python/2.20'])('of %s may hold NaN', (client) => {
    const processed = processItems([itemOf('event', '{"extra":{"a":NaN,"b":[-Infinity]}}')], { sender: { client } });
    expect(bodyOf(processed)).toMatchObject({ extra: { a: null, b: [null] } });
  });

  test('is the only one', () => {
    const { events, refused } = processItems([itemOf('event', EVENT), itemOf('transaction', {})]);
    expect(events).toHaveLength(1);
    expect(refused).toEqual([
      { outcome: 'invalid', reason: 'duplicate_item', category: 'transaction', quantity: 1, eventId: undefined },
    ]);
  });
});

describe('an attachment', () => {
  test('goes with its event, as it was sent', () => {
    const item = attachment('bytes', { contentType: 'text/plain', attachmentType: 'event.view_hierarchy' });
    const { events, attachments } = processItems([item, itemOf('event', EVENT), itemOf('attachment', 'x')]);
    expect(events).toHaveLength(1);
    expect(attachments).toEqual([
      {
        eventId: EVENT_ID,
        name: 'a.txt',
        contentType: 'text/plain',
        attachmentType: 'event.view_hierarchy',
        payload: item.payload,
      },
      {
        eventId: EVENT_ID,
        name: 'unnamed',
        contentType: undefined,
        attachmentType: 'event.attachment',
        payload: Buffer.from('x'),
      },
    ]);
    expect(attachments[0]?.payload).toBe(item.payload);
  });

  test('comes by itself', () => {
    expect(processItems([attachment('x')])).toMatchObject({
      events: [],
      attachments: [{ eventId: EVENT_ID }],
      refused: [],
    });
  });

  test('of nothing that is known is refused', () => {
    const { attachments, refused } = processItems([attachment('123')], { envelope: { eventId: undefined } });
    expect(attachments).toEqual([]);
    expect(refused).toMatchObject([
      { reason: 'no_event_id', category: 'attachment', quantity: 3 },
      { reason: 'no_event_id', category: 'attachment_item', quantity: 1 },
    ]);
  });

  test('that is a minidump makes an event, if there is none', () => {
    const minidump = attachment('MDMP', { attachmentType: 'event.minidump' });
    const alone = processItems([minidump]);
    expect(alone).toMatchObject({
      events: [{ eventId: EVENT_ID, category: 'error' }],
      attachments: [{ eventId: EVENT_ID }],
    });
    expect(bodyOf(alone)).toMatchObject({ platform: 'native', level: 'fatal', type: 'error' });
    const without = processItems([minidump], { envelope: { eventId: undefined } });
    expect(without.attachments[0]?.eventId).toBe(without.events[0]?.eventId);
    expect(bodyOf(processItems([minidump, itemOf('event', { ...EVENT, platform: 'csharp' })])).platform).toBe('csharp');
  });
});

describe('a user’s report', () => {
  test('is of the event that it names', () => {
    const report = itemOf('user_report', { event_id: OTHER_ID, comments: 'x' });
    expect(processItems([report]).userReports).toEqual([{ eventId: OTHER_ID, payload: report.payload }]);
  });

  test('is of the envelope’s event', () => {
    expect(processItems([itemOf('user_report', { comments: 'x' })]).userReports).toMatchObject([{ eventId: EVENT_ID }]);
  });

  test.each([
    ['invalid_json', '['],
    ['no_event_id', '{}'],
  ])('is refused as %s', (reason, payload) => {
    const given: Given = { envelope: { eventId: undefined } };
    expect(processItems([itemOf('user_report', payload)], given).refused).toMatchObject([
      { outcome: 'invalid', reason, category: 'feedback', quantity: 1 },
    ]);
  });
});

test.each([
  ['session', {}, 'unsupported', 'session', 1],
  ['sessions', {}, 'unsupported', 'session', 1],
  ['replay_event', {}, 'unsupported', 'replay', 1],
  ['log', { item_count: 12 }, 'unsupported', 'log_item', 12],
  ['log', { item_count: -1 }, 'unsupported', 'log_item', 1],
  ['never_heard_of', {}, 'unknown_item', 'default', 1],
] as const)('an item %j with %j is refused as %s', (type, headers, reason, category, quantity) => {
  const { refused, events } = processItems([itemOf(type, '{}', { headers })]);
  expect(events).toEqual([]);
  expect(refused).toEqual([{ outcome: 'invalid', reason, category, quantity, eventId: undefined }]);
});

describe('a client’s report', () => {
  const loss = (reason: string, category: string, quantity: unknown) => ({ reason, category, quantity });
  const reported = (report: object | string, given?: Given) =>
    processItems([itemOf('client_report', report)], given).refused;

  test('is refused of all that it names', () => {
    const report = {
      timestamp: RECEIVED_MS / 1000,
      discarded_events: [
        loss('before_send', 'error', 2),
        loss('sample_rate', 'transaction', 5),
        loss('before_send', 'error', 3),
      ],
      rate_limited_events: [loss('ratelimit_backoff', 'attachment', 100)],
      filtered_events: [loss('localhost', 'error', 1)],
      filtered_sampling_events: [loss('Sampled:1', 'transaction', 4)],
    };
    const one = { eventId: undefined };
    expect(reported(report)).toEqual([
      { ...one, outcome: 'client_discard', reason: 'before_send', category: 'error', quantity: 5 },
      { ...one, outcome: 'client_discard', reason: 'sample_rate', category: 'transaction', quantity: 5 },
      { ...one, outcome: 'rate_limited', reason: 'ratelimit_backoff', category: 'attachment', quantity: 100 },
      { ...one, outcome: 'filtered', reason: 'localhost', category: 'error', quantity: 1 },
      { ...one, outcome: 'filtered', reason: 'Sampled:1', category: 'transaction', quantity: 4 },
    ]);
  });

  test.each<[string, object]>([
    ['of the future', { timestamp: RECEIVED_MS / 1000 + 61, discarded_events: [loss('a', 'error', 1)] }],
    ['of an unknown category', { discarded_events: [loss('a', 'toString', 1)] }],
    ['without reason', { discarded_events: [loss('', 'error', 1)] }],
    [
      'of what is no quantity',
      { discarded_events: [loss('a', 'error', -1), loss('a', 'error', 1.5), loss('a', 'error', 1e300)] },
    ],
    ['of no form', { discarded_events: 5, filtered_events: [5, null] }],
  ])('says nothing %s', (_, report) => {
    expect(reported(report)).toEqual([]);
  });

  test('is of now, if the sender’s clock is ahead', () => {
    const report = { timestamp: RECEIVED_MS / 1000 + 7200, discarded_events: [loss('a', 'error', 1)] };
    expect(reported(report, { envelope: { sentAtMs: RECEIVED_MS + 7_200_000 } })).toHaveLength(1);
  });

  test('that can’t be read is refused itself', () => {
    expect(reported('{')).toMatchObject([{ outcome: 'invalid', reason: 'invalid_json', category: 'default' }]);
  });

  test('names only so many reasons', () => {
    const many = Array.from({ length: 1000 }, (_, index) => loss(`${index}`, 'error', 1));
    expect(reported({ discarded_events: many })).toHaveLength(200);
  });
});
