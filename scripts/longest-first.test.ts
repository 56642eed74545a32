import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { longest, longestFirst } from './lib/longest-first.mjs';
import { root } from './lib/project.mjs';

test('the longest go first, in their order, and the others as they were', () => {
  const files = ['/a/small.test.ts', '/a/coalescing.test.ts', '/a/large.test.ts', '/a/events-kills.test.ts'];
  const sorted = longestFirst(files, (file) => file);
  expect(sorted).toEqual(['/a/events-kills.test.ts', '/a/coalescing.test.ts', '/a/small.test.ts', '/a/large.test.ts']);
});

test('they are there', () => {
  expect(longest.filter((name) => !existsSync(join(root, 'test', 'flows', name)))).toEqual([]);
});
