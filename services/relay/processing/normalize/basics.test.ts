import { error, invalid, table } from './table-testing.ts';

table('type, level, platform and the like', [
  { rule: 'error of exceptions', sent: { exception: { type: 'A' } }, is: { type: 'error' } },
  { rule: 'default without', sent: { exception: { values: [] }, type: 'error' }, is: { type: 'default' } },
  { rule: 'csp', sent: { csp: {}, type: 'x' }, is: { type: 'csp' } },
  { rule: 'transaction', sent: { type: 'transaction' }, is: { type: 'transaction' } },
  { rule: 'feedback', sent: { type: 'feedback', exception: { type: 'A' } }, is: { type: 'feedback' } },
  { rule: 'log is info', sent: { level: 'log' }, is: { level: 'info' } },
  { rule: 'critical is fatal', sent: { level: 'critical' }, is: { level: 'fatal' } },
  { rule: 'warning is itself', sent: { level: 'warning' }, is: { level: 'warning' } },
  {
    rule: 'an invalid level is error',
    sent: { level: 'loud' },
    is: { level: 'error' },
    meta: { level: { '': { err: [invalid('invalid level')], val: 'loud' } } },
  },
  { rule: 'known platform', sent: { platform: 'cocoa' }, is: { platform: 'cocoa' } },
  { rule: 'unknown platform', sent: { platform: 'cobol' }, is: { platform: 'other' } },
  { rule: 'logger', sent: { logger: 'a.b' }, is: { logger: 'a.b' } },
  {
    rule: 'the SDK, of the client',
    sent: {},
    is: { sdk: { name: 'sentry.python', version: '2.1' } },
    given: { sender: { client: 'sentry.python/2.1' } },
  },
  {
    rule: 'the SDK, of its own',
    sent: { sdk: { name: 'x', version: '1' } },
    is: { sdk: { name: 'x', version: '1' } },
    given: { sender: { client: 'sentry.python/2.1' } },
  },
  { rule: 'culprit is text', sent: { culprit: 5 }, is: { culprit: '5' } },
  {
    rule: 'a transaction is text',
    sent: { transaction: {} },
    is: { transaction: null },
    meta: { transaction: error(invalid('expected a string')) },
  },
]);

table('releases and environments', [
  { rule: 'a release', sent: { release: 'my.app@1.0+5' }, is: { release: 'my.app@1.0+5' } },
  { rule: 'a number', sent: { release: 1.5 }, is: { release: '1.5' } },
  ...['a/b', 'a\nb', 'a\\b', '.', '..', ' ', 'a\tb'].map((release) => ({
    rule: `not ${JSON.stringify(release)}`,
    sent: { release },
    is: { release: null },
    meta: { release: { '': { err: [invalid('invalid release')], val: release } } },
  })),
  ...['a/b', 'a\nb', 'None', ' '].map((environment) => ({
    rule: `environment not ${JSON.stringify(environment)}`,
    sent: { environment },
    is: { environment: null },
    meta: { environment: { '': { err: [invalid('invalid environment')], val: environment } } },
  })),
  {
    rule: 'an empty one is none',
    sent: { release: '', environment: '' },
    is: { release: undefined, environment: undefined },
  },
]);
