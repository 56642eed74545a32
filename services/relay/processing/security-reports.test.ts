import { describe, expect, test } from 'vitest';
import { EVENT_ID, itemOf, processItems } from './testing.ts';

const reported = (payload: unknown, headers = {}) => processItems([itemOf('raw_security', payload, { headers })]);
const bodies = (payload: unknown, headers = {}) =>
  reported(payload, headers).events.map((event) => JSON.parse(Buffer.from(event.payload).toString()));
const message = (report: object) => bodies({ 'csp-report': report })[0].logentry.formatted;

const CSP = {
  'document-uri': 'https://example.com/page?a=b',
  referrer: 'https://example.com/',
  'violated-directive': "script-src 'self'",
  'effective-directive': 'script-src',
  'original-policy': "default-src 'none'; script-src 'self'",
  'blocked-uri': 'https://evil.com/x.js',
  'status-code': 200,
};

describe('a report of a Content-Security-Policy', () => {
  test('is an event', () => {
    const { events } = reported({ 'csp-report': CSP });
    expect(events).toMatchObject([{ eventId: EVENT_ID, category: 'security' }]);
    const headers = { sentry_release: '1.0', sentry_environment: 'prod' };
    expect(bodies({ 'csp-report': CSP }, headers)).toMatchObject([
      {
        type: 'csp',
        level: 'info',
        logger: 'csp',
        release: '1.0',
        environment: 'prod',
        culprit: "script-src 'self'",
        logentry: { formatted: "Blocked 'script' from 'evil.com'" },
        csp: {
          document_uri: 'https://example.com/page?a=b',
          violated_directive: "script-src 'self'",
          effective_directive: 'script-src',
          blocked_uri: 'https://evil.com/x.js',
          status_code: 200,
        },
        request: {
          url: 'https://example.com/page',
          query_string: 'a=b',
          headers: [['Referer', 'https://example.com/']],
        },
        tags: [
          ['effective-directive', 'script-src'],
          ['blocked-uri', 'https://evil.com/x.js'],
        ],
        user: { ip_address: '203.0.113.7' },
      },
    ]);
  });

  test.each([
    [{ 'blocked-uri': 'inline' }, "Blocked inline 'script'"],
    [{ 'blocked-uri': 'eval' }, "Blocked unsafe eval() 'script'"],
    [{ 'blocked-uri': 'data' }, "Blocked 'script' from 'data'"],
    [{ 'blocked-uri': 'self' }, "Blocked 'script' from 'self'"],
    [{ 'blocked-uri': 'https://example.com/a.js' }, "Blocked 'script' from 'self'"],
    [{ 'blocked-uri': '' }, "Blocked 'script'"],
    [{ 'effective-directive': 'img-src' }, "Blocked 'image' from 'evil.com'"],
    [{ 'effective-directive': 'new-src' }, "Blocked 'new-src' from 'evil.com'"],
    [{ 'effective-directive': '', 'violated-directive': "style-src 'self'" }, "Blocked 'style' from 'evil.com'"],
  ])('with %j says %j', (fields, says) => {
    expect(message({ ...CSP, ...fields })).toBe(says);
  });

  test('comes in the form of the Reporting API, many at once', () => {
    const report = (blockedURL: string) => ({
      type: 'csp-violation',
      age: 10,
      url: 'https://example.com/page',
      user_agent: 'Firefox',
      body: { documentURL: 'https://example.com/page', blockedURL, effectiveDirective: 'img-src', lineNumber: 5 },
    });
    const sent = [report('https://a.com/x.png'), report('https://b.com/x.png'), { type: 'deprecation', body: {} }];
    const { events, refused } = reported(sent);
    expect(events).toHaveLength(2);
    expect(events[0]?.eventId).toBe(EVENT_ID);
    expect(events[1]?.eventId).toMatch(/^[0-9a-f]{32}$/);
    expect(events[1]?.eventId).not.toBe(EVENT_ID);
    expect(refused).toEqual([
      { outcome: 'invalid', reason: 'security_report_type', category: 'security', quantity: 1, eventId: undefined },
    ]);
    expect(bodies(sent)[1]).toMatchObject({
      logentry: { formatted: "Blocked 'image' from 'b.com'" },
      csp: { document_uri: 'https://example.com/page', effective_directive: 'img-src', line_number: 5 },
      request: { headers: [['User-Agent', 'Firefox']] },
    });
  });

  test('more than 100 at once are refused', () => {
    const { events, refused } = reported(Array.from({ length: 130 }, () => ({ 'csp-report': CSP })));
    expect(events).toHaveLength(100);
    expect(refused).toMatchObject([{ reason: 'too_large:security', quantity: 30 }]);
  });
});

test.each([
  ['expectct', { 'expect-ct-report': { hostname: 'a.com', port: 443, scts: [] } }, "Expect-CT failed for 'a.com'"],
  ['expectstaple', { 'expect-staple-report': { hostname: 'a.com' } }, "Expect-Staple failed for 'a.com'"],
  ['hpkp', { hostname: 'a.com', 'known-pins': [] }, "Public key pinning failed for 'a.com'"],
])('a report %j is an event', (type, sent, formatted) => {
  expect(reported(sent).events).toMatchObject([{ category: 'security' }]);
  expect(bodies(sent)).toMatchObject([
    { type, [type]: { hostname: 'a.com' }, logentry: { formatted }, request: { url: 'https://a.com' } },
  ]);
});

test.each([
  ['invalid_json', '{'],
  ['security_report_type', '{}'],
  ['security_report_type', '5'],
  ['security_report_type', '{"csp-report":5}'],
])('it is refused as %s: %s', (reason, sent) => {
  expect(reported(sent)).toMatchObject({ events: [], refused: [{ outcome: 'invalid', reason, category: 'security' }] });
});
