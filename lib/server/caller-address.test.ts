import { expect, test } from 'vitest';
import { callerAddress, networkOf } from './caller-address.ts';

// The edge adds the address that it was called from; what a caller has sent itself stands before it.
test.for([
  ['203.0.113.9', 0, '203.0.113.9'],
  ['10.9.9.9, 203.0.113.9', 0, '203.0.113.9'],
  ['10.9.9.9,203.0.113.9 , 192.0.2.1', 1, '203.0.113.9'],
  ['192.0.2.1', 1, '192.0.2.1'],
  [undefined, 0, ''],
  ['10.9.9.9, 203.0.113.9:4711, 192.0.2.1', 1, '203.0.113.9'],
  ['[2001:db8:1:2::3]:4711, 192.0.2.1', 1, '2001:db8:1:2::3'],
  ['unknown, 192.0.2.1', 1, 'unknown'],
] as const)('of %s behind %i proxies is %s', ([forwarded, hops, expected]) => {
  expect(callerAddress(forwarded, hops)).toBe(expected);
});

test.for([
  ['203.0.113.9', '203.0.113.9'],
  ['::ffff:203.0.113.9', '203.0.113.9'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:0db8:0001:0002::9', '2001:db8:1:2::/64'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['::FFFF:203.0.113.9', '203.0.113.9'],
  ['', ''],
] as const)('%s is counted as %s', ([address, expected]) => {
  expect(networkOf(address)).toBe(expected);
});
