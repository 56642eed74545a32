import { describe, expect, test } from 'vitest';
import type { Sender } from '../../envelope.ts';
import type { PlainFilters } from '../../processing.ts';
import { filteredAs } from '../testing.ts';

interface Case {
  readonly filters: Partial<PlainFilters>;
  readonly event: object;
  readonly sender?: Partial<Sender>;
}

function table(reason: string, wanted: Record<string, Case>, unwanted: Record<string, Case>): void {
  describe(reason, () => {
    test.each(Object.entries(unwanted))('%s', (_, { filters, event, sender }) => {
      expect(filteredAs(event, filters, sender)).toBe(reason);
    });
    test.each(Object.entries(wanted))('not %s', (_, { filters, event, sender }) => {
      expect(filteredAs(event, filters, sender)).toBeUndefined();
    });
  });
}

const csp = (pattern: string, fields: object): Case => ({
  filters: { cspDisallowedSources: [pattern] },
  event: { csp: fields },
});
table(
  'invalid-csp',
  {
    'another domain': csp('evil.com', { blocked_uri: 'https://good.com/x' }),
    'a domain below': csp('evil.com', { blocked_uri: 'https://a.evil.com/x' }),
    'another scheme': csp('http://evil.com', { blocked_uri: 'https://evil.com' }),
    'another port': csp('evil.com:81', { blocked_uri: 'https://evil.com:82' }),
    'a domain that ends alike': csp('*.evil.com', { blocked_uri: 'https://notevil.com' }),
    'an error': { filters: { cspDisallowedSources: ['*'] }, event: { message: 'a' } },
  },
  {
    'a domain': csp('evil.com', { blocked_uri: 'https://EVIL.com/x?y' }),
    'of the file': csp('evil.com', { source_file: 'https://evil.com/x.js' }),
    'of the document': csp('evil.com', { document_uri: 'https://evil.com/' }),
    'domains below': csp('*.evil.com', { blocked_uri: 'https://a.b.evil.com' }),
    'a scheme': csp('chrome-extension://*', { source_file: 'chrome-extension://abc' }),
    'a scheme without place': csp('data:', { blocked_uri: 'data:' }),
    'scheme, domain and port': csp('https://evil.com:8443', { blocked_uri: 'https://evil.com:8443/x' }),
    'any port': csp('evil.com:*', { blocked_uri: 'https://evil.com:1' }),
    'a word': csp('self', { blocked_uri: 'self' }),
  },
);

const ips = (clientIps: string[], remoteAddr: string, event: object = { message: 'a' }): Case => ({
  filters: { clientIps },
  event,
  sender: { remoteAddr },
});
table(
  'ip-address',
  {
    'another address': ips(['10.0.0.1', '192.168.0.0/24'], '192.168.1.1'),
    'what is no address': ips(['nonsense', '10.0.0.0/99'], '10.0.0.1'),
    'an unknown sender': { filters: { clientIps: ['0.0.0.0/0'] }, event: {}, sender: { remoteAddr: undefined } },
  },
  {
    'an address': ips(['10.0.0.1'], '10.0.0.1'),
    'a network': ips(['192.168.0.0/16'], '192.168.7.1'),
    'a network of version 6': ips(['2001:db8::/32'], '2001:db8:1::1'),
    'version 4 as version 6 writes it': ips(['10.0.0.0/8'], '::ffff:10.1.2.3'),
    'the user’s': ips(['10.0.0.0/8'], '203.0.113.1', { user: { ip_address: '10.0.0.1' } }),
  },
);

table(
  'release-version',
  {
    'another release': { filters: { releases: ['1.*'] }, event: { release: '2.0' } },
    'no release': { filters: { releases: ['*'] }, event: {} },
    'an empty pattern': { filters: { releases: [''] }, event: { release: '1' } },
  },
  { 'a release': { filters: { releases: ['0.1', '1.*'] }, event: { release: '1.5-RC' } } },
);

const says = (pattern: string, event: object): Case => ({ filters: { errorMessages: [pattern] }, event });
table(
  'error-message',
  {
    'a part of it': says('failed', { message: 'it failed' }),
    'the raw one, if it is formatted': says('%s', { logentry: { message: '%s', params: ['a'] } }),
  },
  {
    'a message': says('*FAILED*', { message: 'it failed\ntwice' }),
    'what it is formatted to': says('hello you', { logentry: { message: 'hello %s', params: ['you'] } }),
    'an exception': says('TypeError: *', { exception: { type: 'TypeError', value: 'x' } }),
    'another exception': says('B: *', { exception: [{ type: 'A' }, { type: 'B', value: 'x' }] }),
    'an exception without type': says('x', { exception: { value: 'x' } }),
    'an exception without value': says('A', { exception: { type: 'A' } }),
  },
);

const local = (event: object): Case => ({ filters: { localhost: true }, event });
table(
  'localhost',
  {
    'a place that sounds like it': local({ request: { url: 'http://localhost.example.com/' } }),
    'another address': local({ user: { ip_address: '127.0.0.2' } }),
    'if it is off': { filters: {}, event: { user: { ip_address: '127.0.0.1' } } },
  },
  {
    'the user': local({ user: { ip_address: '::1' } }),
    'the page': local({ request: { url: 'http://LOCALHOST:3000/x' } }),
    'a page below': local({ request: { url: 'http://app.localhost/x' } }),
    'a file': local({ request: { url: 'file:///home/x.html' } }),
    'an address in version 6': local({ request: { url: 'http://[::1]:80/x' } }),
    'the host': local({ request: { headers: { Host: '127.0.0.1:8080' } } }),
    'the forwarded host': local({ request: { headers: [['X-Forwarded-Host', 'localhost']] } }),
  },
);

const thrown = (value: string, absPaths: string[] = []): Case => ({
  filters: { browserExtensions: true },
  event: {
    exception: [
      { type: 'Error', value, stacktrace: { frames: absPaths.map((abs_path) => ({ abs_path })) } },
      { type: 'Error', value: 'jigsaw is not defined' },
    ],
  },
});
table(
  'browser-extensions',
  {
    'an error of the page': thrown('x is not a function', ['https://example.com/a.js']),
    'one that began in an extension': thrown('x', ['chrome-extension://a', 'https://example.com/a.js']),
  },
  {
    'what they say': thrown('Jigsaw is not defined'),
    'where they are': thrown('x', ['https://example.com/a.js', 'moz-extension://abc/content.js']),
    'where they are, before what is nameless': thrown('x', ['safari-web-extension://abc', '<anonymous>']),
    'where they come from': thrown('x', ['https://gc.kaspersky-labs.com/a.js']),
  },
);

const agent = (filters: Partial<PlainFilters>, userAgent: string): Case => ({
  filters,
  event: { request: { headers: { 'User-Agent': userAgent } } },
});
const CHROME = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36';
const crawlers = (userAgent: string) => agent({ webCrawlers: true }, userAgent);
table(
  'web-crawlers',
  {
    Chrome: crawlers(CHROME),
    'Slackbot, asked': crawlers('Slackbot 1.0 (+https://api.slack.com/robots)'),
    SentryUptimeBot: crawlers('SentryUptimeBot/1.0 (+http://docs.sentry.io/product/alerts/uptime-monitoring/)'),
    'ChatGPT-User': crawlers('Mozilla/5.0; compatible; ChatGPT-User/1.0; +https://openai.com/bot'),
    Cubot: crawlers('Mozilla/5.0 (Linux; Android 9; CUBOT X19) Chrome/120.0.0.0 Mobile Safari/537.36'),
  },
  {
    Googlebot: crawlers('Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)'),
    bingbot: crawlers('Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)'),
    'Slackbot, looking at links': crawlers('Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)'),
    'the sender': { filters: { webCrawlers: true }, event: {}, sender: { userAgent: 'Baiduspider' } },
  },
);

const old = (id: string, userAgent: string) => agent({ legacyBrowsers: [id] }, userAgent);
const IE11 = 'Mozilla/5.0 (Windows NT 6.3; Trident/7.0; rv:11.0) like Gecko';
const SAFARI5 = 'Mozilla/5.0 (Macintosh) AppleWebKit/533.18 (KHTML, like Gecko) Version/5.0.2 Safari/533.18.5';
table(
  'legacy-browsers',
  {
    'a new Chrome': old('chrome', CHROME),
    'Chrome for Safari': old('safari', CHROME),
    'ids that are unknown': old('toString', IE11),
    'IE 11 by default': old('default', IE11),
    'no browser': { filters: { legacyBrowsers: ['ie'] }, event: {} },
  },
  {
    'IE 11': old('ie11', IE11),
    'IE before 12': old('ie', IE11),
    'IE before 9': old('ie_pre_9', 'Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.0)'),
    'IE 10': old('ie10', 'Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; Trident/6.0)'),
    'Safari before 6': old('safari_pre_6', SAFARI5),
    'by default': old('default', SAFARI5),
    'Opera before 15': old('opera_pre_15', 'Opera/9.80 (Windows NT 6.1) Presto/2.12.388 Version/12.16'),
    'Opera before 100': old('opera', `${CHROME} OPR/99.0.0.0`),
    'Opera Mini': old('opera_mini_pre_8', 'Opera/9.80 (J2ME/MIDP; Opera Mini/7.1.32052/29.3709; U; en) Presto/2.8.119'),
    'Android before 4': old(
      'android_pre_4',
      'Mozilla/5.0 (Linux; U; Android 2.3.5; en-us) AppleWebKit/533.1 (KHTML, like Gecko) Version/4.0 Mobile Safari/533.1',
    ),
    'Edge before 79': old('edge_pre_79', `${CHROME} Edge/18.17763`),
    'Edge before 111': old('edge', `${CHROME} Edg/110.0.0.0`),
    'Firefox before 111': old('firefox', 'Mozilla/5.0 (X11; Linux x86_64; rv:110.0) Gecko/20100101 Firefox/110.0'),
    'Chrome before 111': old('chrome', CHROME.replace('120', '110')),
  },
);

const named = (type: string, transaction: string): Case => ({
  filters: { transactions: ['*/health*'] },
  event: { type, transaction },
});
table(
  'filtered-transaction',
  { 'another transaction': named('transaction', '/users'), 'an error': named('error', '/healthz') },
  { 'a transaction': named('transaction', '/Healthz') },
);

test('the first that matches names the reason', () => {
  const event = { message: 'a', release: '1', user: { ip_address: '127.0.0.1' } };
  const all = { clientIps: ['127.0.0.1'], releases: ['1'], errorMessages: ['a'], localhost: true };
  expect(filteredAs(event, all)).toBe('ip-address');
  expect(filteredAs(event, { ...all, clientIps: [] })).toBe('release-version');
  expect(filteredAs(event, { ...all, clientIps: [], releases: [] })).toBe('error-message');
  expect(filteredAs(event, { localhost: true })).toBe('localhost');
});
