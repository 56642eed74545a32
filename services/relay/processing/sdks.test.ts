import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { GO_EVENT, JAVASCRIPT_EVENT, PYTHON_EVENT } from './fixtures.ts';
import { EVENT_ID, itemOf, normalized, processItems, RECEIVED_MS } from './testing.ts';

const RECEIVED = RECEIVED_MS / 1000;

/** What normalization changes of these; everything else is as it was sent. */
const OURS = {
  event_id: EVENT_ID,
  version: '7',
  project: 42,
  key_id: '7',
  logger: '',
  received: RECEIVED,
  type: 'error',
};

describe('events of SDKs are as they were sent, but for what normalization says', () => {
  test('Python', () => {
    const { server_name, ...sent } = PYTHON_EVENT;
    expect(normalized(PYTHON_EVENT)).toEqual({
      ...sent,
      ...OURS,
      timestamp: RECEIVED - 1 + 0.000123,
      breadcrumbs: { values: [{ ...sent.breadcrumbs.values[0], timestamp: RECEIVED - 1 }] },
      tags: [['server_name', server_name]],
    });
  });

  test('JavaScript', () => {
    const [first, second] = JAVASCRIPT_EVENT.breadcrumbs;
    const [exception] = JAVASCRIPT_EVENT.exception.values;
    expect(normalized(JAVASCRIPT_EVENT)).toEqual({
      ...JAVASCRIPT_EVENT,
      ...OURS,
      exception: {
        values: [
          {
            ...exception,
            stacktrace: {
              frames: exception!.stacktrace.frames.map((frame) => ({ ...frame, abs_path: frame.filename })),
            },
          },
        ],
      },
      request: { ...JAVASCRIPT_EVENT.request, url: 'https://shop.example.com/checkout', query_string: 'step=2' },
      tags: [['plan', 'pro']],
      user: { id: '4711', data: { plan: 'pro' }, ip_address: '203.0.113.7', sentry_user: 'id:4711' },
      breadcrumbs: {
        values: [
          { ...first, type: 'default', level: 'info' },
          { ...second, level: 'info' },
        ],
      },
    });
  });

  test('Go', () => {
    const { server_name, ...sent } = GO_EVENT;
    const [frame] = sent.exception[0]!.stacktrace.frames;
    expect(normalized(GO_EVENT)).toEqual({
      ...sent,
      ...OURS,
      exception: {
        values: [{ ...sent.exception[0], stacktrace: { frames: [{ ...frame, filename: '/srv/main.go' }] } }],
      },
      timestamp: RECEIVED - 1 + 0.000457,
      tags: [['server_name', server_name]],
    });
  });
});

describe('any JSON', () => {
  const keys = fc.constantFrom(
    ...Object.keys(PYTHON_EVENT),
    ...Object.keys(JAVASCRIPT_EVENT),
    ...[
      'logentry',
      'message',
      'params',
      'formatted',
      'stacktrace',
      'frames',
      'values',
      'csp',
      'threads',
      'data',
      'url',
    ],
    ...['_meta', '', 'headers', 'cookies', 'ip_address', 'settings', 'env', 'REMOTE_ADDR', 'type', 'value', 'spans'],
    ...['__proto__', 'constructor', 'toJSON', 'length', 'received', 'start_timestamp', 'logger', 'err', 'rem'],
  );
  const texts = fc.constantFrom(
    '',
    '{{auto}}',
    'Foo: bar',
    '%s {} %(a)s',
    'error',
    '127.0.0.1',
    NaN,
    1e20,
    -0,
    2 ** 60,
    true,
  );
  /** Also with a key `__proto__`, as JSON may have it. */
  const objectOf = (value: fc.Arbitrary<unknown>, minLength: number) =>
    fc
      .array(fc.tuple(keys, value), { minLength, maxLength: 8 })
      .map((entries) => entries.map(([key, each]) => `${JSON.stringify(key)}:${JSON.stringify(each)}`).join())
      .map((members): unknown => JSON.parse(`{${members}}`));
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { depthSize: 'medium', withCrossShrink: true },
      fc.oneof(texts, fc.string(), fc.double(), fc.constant(null), fc.date().map(String)),
      fc.array(tie('tree'), { maxLength: 4 }),
      objectOf(tie('tree'), 0),
    ),
  }));
  const anything = fc.oneof({ arbitrary: objectOf(tree, 3), weight: 9 }, { arbitrary: tree, weight: 1 });
  const FILTERS = {
    browserExtensions: true,
    webCrawlers: true,
    localhost: true,
    legacyBrowsers: ['default'],
    clientIps: ['10.0.0.0/8'],
    errorMessages: ['*never*said*'],
    releases: ['x*'],
    cspDisallowedSources: ['*.evil.com'],
    transactions: ['y*'],
  };

  test('is an event with all that an event has, or refused with a reason that is not our fault', () => {
    fc.assert(
      fc.property(anything, fc.constantFrom('event', 'transaction', 'feedback'), (sent, type) => {
        const { events, refused } = processItems([itemOf(type, JSON.stringify(sent) ?? '')], { filters: FILTERS });
        expect(events.length + refused.length).toBe(1);
        for (const { reason } of refused) expect(reason).not.toBe('internal');
        for (const { payload } of events) {
          const event = JSON.parse(Buffer.from(payload).toString());
          expect(event.event_id).toBe(EVENT_ID);
          expect(typeof event.timestamp).toBe('number');
          expect(event.received).toBe(RECEIVED);
          for (const key of ['type', 'level', 'platform', 'logger', 'version'])
            expect(typeof event[key]).toBe('string');
        }
        expect(Object.keys(Object.prototype)).toEqual([]);
      }),
      { numRuns: 800 },
    );
  });

  test('is brought to the same form a second time', () => {
    fc.assert(
      fc.property(anything, (sent) => {
        const { events } = processItems([itemOf('event', JSON.stringify(sent) ?? '')]);
        for (const { payload } of events) {
          const once = JSON.parse(Buffer.from(payload).toString());
          const twice = normalized(Buffer.from(payload).toString());
          expect({ ...twice, _meta: undefined }).toEqual({ ...once, _meta: undefined });
        }
      }),
      { numRuns: 300 },
    );
  });

  test('reads reports of security, of clients and of users without a fault', () => {
    fc.assert(
      fc.property(anything, fc.constantFrom('raw_security', 'client_report', 'user_report'), (sent, type) => {
        const { refused } = processItems([itemOf(type, JSON.stringify(sent))]);
        for (const { reason } of refused) expect(reason).not.toBe('internal');
      }),
      { numRuns: 300 },
    );
  });
});
