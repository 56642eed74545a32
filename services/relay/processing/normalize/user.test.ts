import { error, invalid, table } from './table-testing.ts';

const JAVASCRIPT = { platform: 'javascript' };

table('users', [
  {
    rule: 'unknown keys are data',
    sent: { user: { id: 5, plan: 'pro', data: { a: 1 } } },
    is: { user: { id: '5', data: { a: 1, plan: 'pro' }, sentry_user: 'id:5' } },
  },
  {
    rule: 'by name',
    sent: { user: { username: 'u', email: 'e' } },
    is: { user: { username: 'u', email: 'e', sentry_user: 'username:u' } },
  },
  { rule: 'by address', sent: { user: { email: 'e' } }, is: { user: { email: 'e', sentry_user: 'email:e' } } },
  {
    rule: 'auto is the sender',
    sent: { user: { ip_address: '{{auto}}' } },
    is: { user: { ip_address: '203.0.113.7', sentry_user: 'ip:203.0.113.7' } },
  },
  {
    rule: 'auto is the request’s',
    sent: { user: { ip_address: '{{auto}}' }, request: { env: { REMOTE_ADDR: '198.51.100.1' } } },
    is: { user: { ip_address: '198.51.100.1', sentry_user: 'ip:198.51.100.1' } },
  },
  {
    rule: 'inferred of browsers',
    sent: JAVASCRIPT,
    is: { user: { ip_address: '203.0.113.7', sentry_user: 'ip:203.0.113.7' } },
  },
  {
    rule: 'not inferred of servers',
    sent: { platform: 'python', user: { id: '1' } },
    is: { user: { id: '1', sentry_user: 'id:1' } },
  },
  {
    rule: 'asked for',
    sent: { platform: 'python', sdk: { name: 'x', settings: { infer_ip: 'auto' } } },
    is: { user: { ip_address: '203.0.113.7', sentry_user: 'ip:203.0.113.7' } },
  },
  {
    rule: 'forbidden',
    sent: { ...JAVASCRIPT, sdk: { name: 'x', settings: { infer_ip: 'never' } } },
    is: { user: undefined },
  },
  {
    rule: 'not where addresses are scrubbed',
    sent: JAVASCRIPT,
    is: { user: undefined },
    given: { project: { scrubIpAddresses: true } },
  },
  {
    rule: 'no address',
    sent: { user: { ip_address: 'here' } },
    is: { user: { ip_address: null } },
    meta: { user: { ip_address: error(invalid('expected an ip address')) } },
  },
]);
