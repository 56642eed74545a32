import { RECEIVED_MS } from '../testing.ts';
import { error, invalid, table } from './table-testing.ts';

const RECEIVED = RECEIVED_MS / 1000;

const SERVER_TIME = '2026-11-21T10:00:00.000Z';

table('times', [
  { rule: 'a date', sent: { timestamp: '2026-11-21T09:59:58.123456Z' }, is: { timestamp: RECEIVED - 2 + 0.123456 } },
  { rule: 'a date without zone', sent: { timestamp: '2026-11-21T09:59:58' }, is: { timestamp: RECEIVED - 2 } },
  { rule: 'a date with zone', sent: { timestamp: '2026-11-21T11:59:58+02:00' }, is: { timestamp: RECEIVED - 2 } },
  {
    rule: 'nanoseconds',
    sent: { timestamp: '2026-11-21T09:59:58.123456789Z' },
    is: { timestamp: RECEIVED - 2 + 0.123457 },
  },
  { rule: 'a number', sent: { timestamp: RECEIVED - 2.5 }, is: { timestamp: RECEIVED - 2.5 } },
  { rule: 'a number as text', sent: { timestamp: `${RECEIVED}` }, is: { timestamp: RECEIVED } },
  {
    rule: 'no time',
    sent: { timestamp: 'yesterday' },
    is: { timestamp: RECEIVED },
    meta: { timestamp: { '': { err: [invalid('expected a timestamp')], val: 'yesterday' } } },
  },
  { rule: 'what is received is not believed', sent: { received: 5 }, is: { received: RECEIVED } },
  {
    rule: 'a clock that is a day off moves everything',
    sent: {
      timestamp: RECEIVED - 86_402,
      start_timestamp: RECEIVED - 86_403,
      breadcrumbs: [{ timestamp: '2026-11-20T09:59:50Z' }],
      spans: [{ timestamp: RECEIVED - 86_402, start_timestamp: RECEIVED - 86_404 }],
    },
    is: {
      timestamp: RECEIVED - 2,
      start_timestamp: RECEIVED - 3,
      breadcrumbs: { values: [{ timestamp: RECEIVED - 10, type: 'default', level: 'info' }] },
      spans: [{ timestamp: RECEIVED - 2, start_timestamp: RECEIVED - 4 }],
    },
    meta: {
      timestamp: error(['clock_drift', { sdk_time: '2026-11-20T10:00:00.000Z', server_time: SERVER_TIME }]),
    },
    given: { envelope: { sentAtMs: RECEIVED_MS - 86_400_000 } },
  },
  {
    rule: 'one that is less than 55 minutes off does not',
    sent: { timestamp: RECEIVED - 3290 },
    is: { timestamp: RECEIVED - 3290 },
    given: { envelope: { sentAtMs: RECEIVED_MS - 54 * 60_000 } },
  },
  {
    rule: 'more than a minute ahead',
    sent: { timestamp: RECEIVED + 61 },
    is: { timestamp: RECEIVED },
    meta: {
      timestamp: error(['future_timestamp', { sdk_time: '2026-11-21T10:01:01.000Z', server_time: SERVER_TIME }]),
    },
  },
  { rule: 'less than a minute ahead', sent: { timestamp: RECEIVED + 59 }, is: { timestamp: RECEIVED + 59 } },
  {
    rule: 'older than it is kept',
    sent: { timestamp: RECEIVED - 91 * 86_400, start_timestamp: RECEIVED - 91 * 86_400 - 5 },
    is: { timestamp: RECEIVED, start_timestamp: RECEIVED - 5 },
    meta: { timestamp: error(['past_timestamp', { sdk_time: '2026-08-22T10:00:00.000Z', server_time: SERVER_TIME }]) },
  },
  {
    rule: 'a breadcrumb without a time',
    sent: { breadcrumbs: { values: [{ timestamp: {} }] } },
    is: { breadcrumbs: { values: [{ timestamp: null, type: 'default', level: 'info' }] } },
    meta: { breadcrumbs: { values: { 0: { timestamp: error(invalid('expected a timestamp')) } } } },
  },
]);
