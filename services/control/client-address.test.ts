import { expect, test } from 'vitest';
import { clientAddress } from './client-address.ts';

// The edge adds the address that it was called from; what a caller has sent itself stands before it.
test.for([
  ['203.0.113.9', 0, '203.0.113.9'],
  ['10.9.9.9, 203.0.113.9', 0, '203.0.113.9'],
  ['10.9.9.9,203.0.113.9 , 192.0.2.1', 1, '203.0.113.9'],
  ['192.0.2.1', 1, '192.0.2.1'],
  [undefined, 0, ''],
] as const)('of %s behind %i proxies is %s', ([forwarded, hops, expected]) => {
  const headers = new Headers(forwarded === undefined ? {} : { 'x-forwarded-for': forwarded });
  expect(clientAddress(headers, hops)).toBe(expected);
});
