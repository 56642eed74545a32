import { expect, test } from 'vitest';
import { clientAddressOf } from './client-address.ts';

test.each([
  [{}, '192.0.2.1', '192.0.2.1'],
  [{}, '::ffff:192.0.2.1', '192.0.2.1'],
  [{}, '::1', '::1'],
  [{}, undefined, undefined],
  [{ 'x-forwarded-for': '203.0.113.7, 10.0.0.1' }, '::1', '203.0.113.7'],
  [{ 'x-forwarded-for': ' 2001:db8::1 ' }, '::1', '2001:db8::1'],
  [{ 'x-forwarded-for': '203.0.113.7:4711' }, '::1', '203.0.113.7'],
  [{ 'x-forwarded-for': '[2001:db8::1]:4711' }, '::1', '2001:db8::1'],
  [{ 'x-forwarded-for': 'unknown, 203.0.113.7' }, '192.0.2.1', '192.0.2.1'],
  [{ 'x-forwarded-for': '' }, '192.0.2.1', '192.0.2.1'],
  [{ 'x-sentry-forwarded-for': '203.0.113.1', 'x-forwarded-for': '203.0.113.2' }, '::1', '203.0.113.1'],
  [{ 'x-vercel-forwarded-for': '203.0.113.1', 'x-sentry-forwarded-for': '203.0.113.2' }, '::1', '203.0.113.1'],
  [{ 'cf-connecting-ip': '203.0.113.1', 'x-vercel-forwarded-for': '203.0.113.2' }, '::1', '203.0.113.1'],
  [{ 'cf-connecting-ip': '', 'x-forwarded-for': '203.0.113.2' }, '::1', '203.0.113.2'],
  [{ 'cf-connecting-ip': 'x'.repeat(10_000) }, '192.0.2.1', '192.0.2.1'],
])('%j from %s is %s', (headers, peer, address) => {
  expect(clientAddressOf(headers, peer)).toBe(address);
});
