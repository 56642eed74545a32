import { expect, test } from 'vitest';
import { countOf } from './lib/test-steps.mjs';

const report = (numPassedTests: number, numTotalTests: number) => JSON.stringify({ numPassedTests, numTotalTests });

test.each([
  ['all passed', report(5, 5), 0, { passed: 5, failed: 0 }],
  ['one failed', report(4, 5), 1, { passed: 4, failed: 1 }],
  ['one was not run', report(4, 5), 0, { passed: 4, failed: 1 }],
  ['a file could not be loaded', report(5, 5), 1, { passed: 5, failed: 1 }],
  ['there were none', report(0, 0), 1, { passed: 0, failed: 1 }],
])('%s', (_, text, exitCode, count) => {
  expect(countOf(text, exitCode)).toEqual(count);
});
